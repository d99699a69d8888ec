"""Compares the criteria that say which channels go, on real networks: `python -m tools.criteria_table`.

Every free group is cut to the same share of its width, snapped to a quantum, by each criterion and by chance. Accuracy
is taken on images of the training files that no criterion and no training has seen in this run (the networks
themselves were trained on them): straight after surgery, after recalibration, and after a few steps of distillation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.choice import choose_channels
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.slim import slim
from deploycompress.train.accuracy import accuracy
from deploycompress.train.batches import Batch
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.compute import training_compute
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.criteria.ties import Scores
from deploycompress.train.data import load_data
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import make_normalization
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.short_course import CourseSettings, ShortCourse
from deploycompress.train.split import split_validation
from tools import cifar_resnet

SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARES = (0.75, 0.5)
QUANTUM, STEPS, RANDOM_SEEDS = 8, 60, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A network with what it is scored, trained and judged on.

    Attributes:
        graph: the network.
        channels: its channels.
        module: the network in torch.
        task: training and validation images.
        course: the steps of distillation, the same for all.
        scoring: images that criteria see.
        statistics: images that recalibration sees.
    """

    graph: Graph
    channels: Channels
    module: GraphModule
    task: TaskData
    course: ShortCourse
    scoring: list[Batch]
    statistics: list[Batch]


def main() -> None:
    """Print a table for each network, rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--criteria", nargs="+", default=[criterion.value for criterion in Criterion])
    parser.add_argument("--scoring-images", type=int, default=100)
    parser.add_argument("--validation-images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=STEPS, help="of distillation, at least 1")
    parser.add_argument("--seeds", type=int, default=RANDOM_SEEDS, help="of choices by chance")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    options = parser.parse_args()
    for network in options.networks:
        bench = _bench(network, options.scoring_images, options.validation_images)
        whole = accuracy(bench.module, bench.task.validation, bench.task.normalization, compute=training_compute())
        print(f"\n{network}: {whole:.2%} whole; {options.scoring_images} images to score on\n")
        print(
            "| criterion | s | width | after surgery | recalibrated | "
            + f"{options.steps} steps |\n|---|---|---|---|---|---|"
        )
        for name, seconds, scores in _scored(bench, options.criteria, options.seeds):
            for share in options.shares:
                found = " | ".join(f"{value:.1%}" for value in _accuracies(bench, scores, share, options.steps))
                print(f"| {name} | {seconds:.1f} | {share:g} | {found} |", flush=True)


def _bench(network: str, scoring_images: int, validation_images: int) -> Bench:
    torch_network = getattr(cifar_resnet, network)()
    weights = SHARED / "models" / f"{network}_cifar10.state_dict.pt"
    torch_network.load_state_dict(torch.load(weights, weights_only=True))
    graph = capture(torch_network.eval(), input_shape=(1, 3, 32, 32))
    data = load_data(str(SHARED / "data" / "cifar10" / "train-*.npz"), input_shape=(3, 32, 32), num_classes=10)
    training, validation = split_validation(data, generator=np.random.default_rng(0), at_most=validation_images)
    task = TaskData(training=training, validation=validation, normalization=make_normalization(None, training))
    module = to_torch(graph)

    def batches(seed: int, samples: int, batch_size: int) -> list[Batch]:
        generator = np.random.default_rng(seed)
        drawn = calibration_batches(
            training, task.normalization, generator=generator, samples=samples, batch_size=batch_size
        )
        return list(drawn)

    return Bench(
        graph=graph,
        channels=trace_channels(graph),
        module=module,
        task=task,
        course=ShortCourse(module, task, settings=CourseSettings(), compute=training_compute(), seed=0),
        scoring=batches(1, scoring_images, 100),
        statistics=batches(0, 1024, 256),
    )


def _scored(bench: Bench, criteria: list[str], seeds: int) -> Iterator[tuple[str, float, Scores]]:
    channels = bench.channels
    for name in criteria:
        start = time.process_time()  # other processes may run beside
        scores = score_channels(
            Criterion(name), bench.module, channels.ties, channels.count, bench.scoring, axes=channels.axes
        )
        yield name, time.process_time() - start, scores
    for seed in range(seeds):
        yield f"random {seed}", 0.0, np.random.default_rng(seed).random(channels.count + 1)


def _accuracies(bench: Bench, scores: Scores, share: float, steps: int) -> Iterator[float]:
    student = to_torch(slim(bench.graph, _plan(bench.channels, scores, share)))
    task, compute = bench.task, training_compute()
    yield accuracy(student, task.validation, task.normalization, compute=compute)
    recalibrate(student, bench.statistics, compute=compute)
    yield accuracy(student, task.validation, task.normalization, compute=compute)
    if steps:
        bench.course.teach(student, start=0, stop=steps)
        yield accuracy(student, task.validation, task.normalization, compute=compute)


def _plan(channels: Channels, scores: Scores, share: float) -> Plan:
    """Keep a share of every free group, to the nearest multiple of the quantum, the larger one of two as near."""
    keep = {}
    for index, group in enumerate(channels.groups):
        width = max(QUANTUM, int(group.width * share / QUANTUM + 0.5) * QUANTUM)
        if not group.frozen and width < group.width:
            keep[group.name] = choose_channels(scores[channels.members_of(index)].tolist(), width)
    return Plan(keep=keep)


if __name__ == "__main__":
    main()
