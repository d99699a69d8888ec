"""Shows what each step of recovery without training gives on the CIFAR-10 ResNets: `python -m tools.recovery_table`.

Students of about three quarters of their teacher's latency are cut by hand: blocks, channels inside blocks, both, and
channels of the residual streams. Accuracy is taken on images of the training files that recovery does not see (the
networks themselves were trained on them), straight after surgery and after each step, before any training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.correspondence import layer_pairs
from deploycompress.execute.students import Scores, Students
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.static import macs
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.plan import Plan
from deploycompress.profile_files import load_profile
from deploycompress.search.space import Candidate
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.accuracy import accuracy
from deploycompress.train.batches import Batch
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.compute import training_compute
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, make_normalization
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.refit import refit
from deploycompress.train.refit_settings import RefitSettings
from deploycompress.train.split import split_validation
from tools import cifar_resnet

SHARED = Path(__file__).resolve().parents[2] / "shared"
STEPS = (
    "surgery",
    "recalibrated",
    "layers refit",
    "layers and streams refit",
    "layers and streams refit, recalibrated",
)


def _removed(*places: str) -> tuple[str, ...]:
    return tuple(f"layer{place}.conv1/residual" for place in places)


def _inner(stage: int, blocks_per_stage: int, width: int) -> dict[str, int]:
    return {f"layer{stage}.{block}.conv1": width for block in range(blocks_per_stage)}


CANDIDATES: Mapping[str, Mapping[str, Candidate]] = {
    "resnet20": {
        "2 of 9 blocks": Candidate(remove=_removed("1.1", "2.2")),
        "channels": Candidate(widths={**_inner(2, 3, 16), **_inner(3, 3, 32)}),
        "1 block and channels": Candidate(remove=_removed("1.1"), widths={**_inner(2, 3, 24), **_inner(3, 3, 48)}),
    },
    "resnet56": {
        "7 of 27 blocks": Candidate(remove=_removed("1.2", "1.4", "1.5", "1.8", "2.2", "2.6", "3.4")),
        # found by the greedy search at a measured ratio of 0.753
        "5 blocks and channels": Candidate(
            remove=_removed("1.2", "1.4", "1.5", "1.8", "2.2"),
            widths={"layer2.5.conv1": 16, "layer2.7.conv1": 16, "layer3.2.conv1": 48, "layer3.4.conv1": 48},
        ),
        "channels": Candidate(widths={**_inner(2, 9, 16), **_inner(3, 9, 32)}),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A teacher, and what its students are recovered and judged on."""

    graph: Graph
    teacher: GraphModule
    students: Students
    scores: Scores
    validation: Dataset
    normalization: Normalization
    calibration: list[Batch]

    def accuracy(self, module: GraphModule) -> float:
        """Judge a network."""
        return accuracy(module, self.validation, self.normalization, compute=training_compute())


def main() -> None:
    """Print a table for each network, rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--images", type=int, default=512, help="to recover on")
    parser.add_argument("--validation-images", type=int, default=2000)
    parser.add_argument("--measure", action="store_true", help="measure latency ratios on this machine, too")
    options = parser.parse_args()
    for network in options.networks:
        bench = _bench(network, options.images, options.validation_images)
        print(f"\n{network}: {bench.accuracy(bench.teacher):.2%} whole, recovered on {options.images} images\n")
        print(f"| student | MACs | latency | {' | '.join(STEPS)} | kept | CPU s |\n{'|---' * (5 + len(STEPS))}|")
        for name, candidate in CANDIDATES[network].items():
            plan = bench.students.plan(candidate, bench.scores)
            student = bench.students.slim(bench.graph, plan)
            share = macs(shipped_form(student)) / macs(shipped_form(bench.graph))
            latency = f"{_latency_ratio(bench.graph, student):.2f}" if options.measure else "-"
            print(f"| {name} | {share:.2f} | {latency} | {_row(bench, plan, student)} |", flush=True)


def _bench(network: str, images: int, validation_images: int) -> Bench:
    made = getattr(cifar_resnet, network)()
    made.load_state_dict(torch.load(SHARED / "models" / f"{network}_cifar10.state_dict.pt", weights_only=True))
    graph = capture(made.eval(), input_shape=(1, 3, 32, 32))
    data = load_data(str(SHARED / "data" / "cifar10" / "train-*.npz"), input_shape=(3, 32, 32), num_classes=10)
    training, validation = split_validation(data, generator=np.random.default_rng(0), at_most=validation_images)
    normalization, channels, teacher = make_normalization(None, data), trace_channels(graph), to_torch(graph)

    def batches(seed: int, samples: int) -> list[Batch]:
        generator = np.random.default_rng(seed)
        return list(calibration_batches(training, normalization, generator=generator, samples=samples, batch_size=128))

    worth = score_channels(
        Criterion.TAYLOR, teacher, channels.ties, channels.count, batches(1, 128), axes=channels.axes
    )
    return Bench(
        graph=graph,
        teacher=teacher,
        students=Students(graph, channels, blocks(graph, channels=channels)),
        scores={
            group.name: tuple(worth[channels.members_of(index)].tolist()) for index, group in enumerate(channels.groups)
        },
        validation=validation,
        normalization=normalization,
        calibration=batches(0, images),
    )


def _row(bench: Bench, plan: Plan, student: Graph) -> str:
    pairs = layer_pairs(bench.students, bench.graph, plan, student)
    found, own = [], RefitSettings(matches_stream=False)

    def judged(module: GraphModule) -> None:
        found.append(f"{bench.accuracy(module):.1%}")

    first, second, third = (to_torch(student) for _ in range(3))
    judged(first)
    recalibrate(first, bench.calibration)
    judged(first)
    refit(second, bench.teacher, pairs, bench.calibration, settings=own)
    judged(second)
    started = time.process_time()  # other processes may run beside
    report = refit(third, bench.teacher, pairs, bench.calibration)
    seconds = time.process_time() - started
    judged(third)
    recalibrate(third, bench.calibration)
    judged(third)
    kept = sum(layer.kept for layer in report.layers)
    return f"{' | '.join(found)} | {kept} of {len(report.layers)} | {seconds:.1f}"


def _latency_ratio(teacher: Graph, student: Graph) -> float:
    with Meter(load_profile("x86")) as meter:
        measured = meter.measure(shipped_form(student), baseline=shipped_form(teacher), max_seconds=2.0)
        return measured.median_ms / measured.baseline_median_ms


if __name__ == "__main__":
    main()
