"""What images made without data are worth: agreement with ResNet-20 on the real CIFAR-10 test images.

Run from the repository root as `python -m tools.data_free_check WEIGHTS TEST.npz [--steps N]`. Two students of fixed
structure are recalibrated and distilled on Gaussian noise, on drawings in fitted colours, and on synthesised
images, for equally many steps; the test images are used for the figures only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.surgery.remove import remove_blocks
from deploycompress.train.accuracy import score_module, with_answers
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.generator import make_generator
from deploycompress.train.normalize import make_normalization, normalize_numpy
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.score import AGREEMENT
from deploycompress.train.synthesis import synthesise
from deploycompress.train.synthesis_settings import SynthesisSettings

SHAPE = (3, 32, 32)
STUDENTS = {
    "2 of 9 blocks out": ("layer1.1.conv1/residual", "layer3.1.conv1/residual"),
    "4 of 9 blocks out": (
        "layer1.1.conv1/residual",
        "layer1.2.conv1/residual",
        "layer2.1.conv1/residual",
        "layer3.1.conv1/residual",
    ),
}
VALIDATION = 8  # of so many images one
PEAK_RATE = 0.005
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One student taught on one kind of images; shares of the test images, in [0, 1]."""

    student: str
    images: str
    raw: float
    recalibrated: float
    distilled: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--count", type=int, default=2048, help="images of each kind")
    parser.add_argument("--steps", type=int, default=600, help="of distillation, for each student")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    teacher = capture(options.weights, arch="tools.cifar_resnet:resnet20", input_shape=(1, *SHAPE))
    test = _test_data(options.test, to_torch(teacher))
    for images, data in _kinds(teacher, options.count).items():
        for student in STUDENTS:
            row = _teach(teacher, student, images, data, test, steps=options.steps)
            print(
                f"{row.student} | {row.images:12} | raw {row.raw:.1%} | recalibrated {row.recalibrated:.1%} | "
                f"distilled {row.distilled:.1%}",
                flush=True,
            )


def _test_data(path: Path, teacher: GraphModule) -> Dataset:
    with np.load(path) as arrays:
        raw = make_dataset(arrays["images"], None, source=path.name)
    images = normalize_numpy(raw.images, make_normalization("imagenet", raw)).transpose(0, 2, 3, 1)
    return _with_answers(images, teacher, source=path.name)


def _with_answers(images: NDArray[np.float32], teacher: GraphModule, *, source: str) -> Dataset:
    data = make_dataset(images, None, source=source)
    return with_answers(data, teacher, make_normalization("none", data))


def _kinds(teacher: Graph, count: int) -> dict[str, NDArray[np.float32]]:
    channels, height, width = SHAPE
    noise = np.random.default_rng(0).standard_normal((count, height, width, channels), dtype=np.float32)
    kinds = {"noise": noise}
    for name, iterations in (("drawn", 0), ("synthesised", SynthesisSettings().iterations)):
        started = time.monotonic()
        found = synthesise(
            to_torch(teacher),
            count=count,
            input_shape=SHAPE,
            generator=make_generator(0),
            settings=SynthesisSettings(iterations=iterations),
        )
        print(
            f"{len(found.images)} images {name} in {time.monotonic() - started:.0f} s; mismatch of noise "
            f"{found.mismatch_noise:.3f}, of drawings {found.mismatch_drawn:.3f}, of these {found.mismatch:.3f}",
            flush=True,
        )
        kinds[name] = found.images
    return kinds


def _teach(teacher: Graph, student: str, name: str, images: NDArray[np.float32], test: Dataset, *, steps: int) -> Row:
    answering, module = to_torch(teacher), to_torch(remove_blocks(teacher, STUDENTS[student]))
    held_out = len(images) // VALIDATION
    training = make_dataset(images[held_out:], None, source=name)
    validation = _with_answers(images[:held_out], answering, source=name)
    task = TaskData(
        training=training,
        validation=validation,
        normalization=make_normalization("none", training),
        score=AGREEMENT,
    )
    raw = score_module(module, test, task.normalization, score=AGREEMENT)
    pixels = torch.from_numpy(training.images).permute(0, 3, 1, 2)
    recalibrate(
        module, [(batch, None) for batch in torch.split(pixels, BATCH) if len(batch) == min(BATCH, len(pixels))]
    )
    recalibrated = score_module(module, test, task.normalization, score=AGREEMENT)
    settings = DistilSettings(steps=steps, peak_rate=PEAK_RATE, batch_size=BATCH)
    distil(module, answering, task, settings=settings, generator=make_generator(0))
    distilled = score_module(module, test, task.normalization, score=AGREEMENT)
    return Row(student=student, images=name, raw=raw, recalibrated=recalibrated, distilled=distilled)


if __name__ == "__main__":
    main()
