"""Measures how many images a second distillation takes: every variant in turns, in one run.

Run from the repository root as `python -m tools.distil_speed`, on a machine that does nothing else; `--compiled` adds
`torch.compile`. Speed depends on neither weights nor pixels, so both are random. Prints a Markdown table; ratios are of
the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.network.module import to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from deploycompress.surgery.slim import slim
from deploycompress.train.compute import Compute, training_compute
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.generator import make_generator
from deploycompress.train.lesson import Lesson
from deploycompress.train.normalize import make_normalization
from tools.cifar_resnet import resnet20, resnet56

ROUNDS, STEPS, BATCH = 7, 4, 128
NETWORKS = {"ResNet-20": resnet20, "ResNet-56": resnet56}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of distilling.

    Attributes:
        name: for the table.
        compute: arithmetic and layout.
        is_folded: whether the teacher's batch norms are folded.
        is_known: whether the teacher has said everything already.
        is_compiled: whether the student goes through `torch.compile`.
    """

    name: str
    compute: Compute
    is_folded: bool = False
    is_known: bool = False
    is_compiled: bool = False


def main() -> int:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    for name, build in NETWORKS.items():
        teacher = capture(build().eval(), input_shape=(1, 3, 32, 32))
        speeds = measure({one.name: make_step(one, teacher) for one in variants(with_compiled=options.compiled)})
        print(f"\n{name}, every other block removed\n\n| variant | images/s | ratio to the first (lowest to highest) |")
        print("|---|---|---|")
        first = next(iter(speeds.values()))
        for variant, found in speeds.items():
            ratios = [mine / base for mine, base in zip(found, first, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"| {variant} | {statistics.median(found):.0f} | {statistics.median(ratios):.2f} ({spread}) |")
    return 0


def variants(*, with_compiled: bool) -> list[Variant]:
    """List them; the first is what distillation did before answers were kept."""
    fast = training_compute()
    plain = Compute(device=fast.device, channels_last=False)
    found = [
        Variant(name=f"{fast.describe()}, teacher asked every time", compute=fast),
        Variant(name="float32 contiguous, teacher asked every time", compute=plain),
        Variant(name=f"{fast.describe()}, folded teacher asked every time", compute=fast, is_folded=True),
        Variant(name=f"{fast.describe()}, answers known", compute=fast, is_known=True),
    ]
    compiled = Variant(
        name=f"{fast.describe()}, answers known, compiled", compute=fast, is_known=True, is_compiled=True
    )
    return [*found, compiled] if with_compiled else found


def make_step(variant: Variant, teacher: Graph) -> Callable[[], None]:
    """Prepare a variant; each call of the result does one step."""
    data = random_images(BATCH if variant.is_known else BATCH * STEPS * (ROUNDS + 1))
    names = [one.name for one in blocks(teacher, channels=trace_channels(teacher)) if one.name.endswith("/residual")]
    student = to_torch(slim(teacher, Plan(remove=tuple(names[1::2]))))
    student.train()
    task = TaskData(training=data, validation=data, normalization=make_normalization(None, data))
    settings = DistilSettings(steps=1, batch_size=BATCH, compiles=variant.is_compiled, augments=False)
    guide = to_torch(shipped_form(teacher) if variant.is_folded else teacher)
    lesson = Lesson(student, guide, task, settings=settings, compute=variant.compute, generator=make_generator(0))
    return lambda: lesson.step(1e-6)


def measure(steps: Mapping[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Give images a second in each round, by name; the first round warms up."""
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(STEPS):
                step()
            speeds[name].append(STEPS * BATCH / (time.perf_counter() - started))
    return {name: found[1:] for name, found in speeds.items()}


def random_images(count: int) -> Dataset:
    """Draw labelled noise."""
    rng = np.random.default_rng(0)
    return make_dataset(
        rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8), np.arange(count) % 10, source="noise"
    )


if __name__ == "__main__":
    raise SystemExit(main())
