"""Trains one competitor like all others, and takes its accuracies as it ships."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from deploycompress.channels.trace import trace_channels
from deploycompress.errors import UsageError
from deploycompress.execute.correspondence import layer_pairs
from deploycompress.execute.structure import structure_digest
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.measuring import static
from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.pipeline.asking import accuracy_in_runtime
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import evaluation_compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilProgress, DistilSettings
from deploycompress.train.generator import make_generator
from deploycompress.train.losses import LossKind, LossSettings
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.refit import refit
from tools.compare_peers_bench import SEED, Bench, commit
from tools.compare_peers_entrants import Entrant
from tools.compare_peers_records import Trained

RECALIBRATION_IMAGES = 1024
TOLD_EVERY = 50  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How competitors are trained.

    Attributes:
        settings: of the distillation, but for its length.
        only_ours: whether the recipe is part of what we offer, so that nobody else gets it.
    """

    settings: Callable[[], DistilSettings]
    only_ours: bool


def plain() -> DistilSettings:
    """Give the settings that everybody gets, written out so that new defaults change nothing."""
    return DistilSettings(
        batch_size=128,
        peak_rate=0.0,
        warm_up=0.2,
        momentum=0.9,
        weight_decay=5e-4,
        loss=LossSettings(kind=LossKind.KL, tau=0.9, temperature=4.0),
        checks=8,
        augments=True,
        views=8,
        pasted=0.0,
        averaging=0.0,
        features=0.0,
        patience=0,
        compiles=False,
    )


RECIPES: Mapping[str, Recipe] = {
    "plain": Recipe(settings=plain, only_ours=False),
    "ours": Recipe(settings=lambda: DistilSettings(checks=8), only_ours=True),
}


def train(bench: Bench, entrant: Entrant, cut: Graph, path: Path, *, images: int, recipe: str) -> Trained:
    """Distil a competitor, write what ships beside the record's path, and take its accuracies.

    Args:
        bench: teacher and data.
        entrant: who.
        cut: its network before training.
        path: of the record to be, for the name of the network's file.
        images: training images that it may see.
        recipe: name.

    Raises:
        UsageError: fewer images than one batch.
    """
    settings = settings_for(entrant, images=images, recipe=recipe)
    module = to_torch(cut)
    _prepare(module, bench, entrant, is_ours=RECIPES[recipe].only_ours)
    before = accuracy(module, bench.task.validation, bench.task.normalization, compute=evaluation_compute())
    report = distil(
        module,
        bench.guide,
        bench.task,
        settings=settings,
        generator=make_generator(SEED),
        initial_accuracy=before,
        on_step=_teller(entrant.name),
    )
    shipped = _ship(module, path.with_suffix(".onnx"))
    model = shipped.to_bytes()
    return Trained(
        name=entrant.name,
        recipe=recipe,
        images=images,
        images_seen=report.images_seen,
        batch_size=settings.batch_size,
        settings=asdict(settings),
        before=before,
        validation=accuracy_in_runtime(model, bench.task.validation, bench.task.normalization),
        test=accuracy_in_runtime(model, bench.test, bench.task.normalization),
        best_step=report.best_step,
        stopped=report.stopped,
        structure=structure_digest(shipped),
        macs=static.macs(shipped),
        params=static.params(shipped),
        seconds=report.seconds,
        threads=torch.get_num_threads(),
        compute=report.compute,
        commit=commit(),
    )


def settings_for(entrant: Entrant, *, images: int, recipe: str) -> DistilSettings:
    """Give a competitor's settings: its recipe's, over as many whole batches as the images allow.

    Raises:
        UsageError: fewer images than one batch, or the recipe is not for this competitor.
    """
    if RECIPES[recipe].only_ours and entrant.family != "ours":
        raise UsageError(f"The recipe {recipe!r} is ours alone; {entrant.name} is trained with 'plain'.")
    settings = RECIPES[recipe].settings()
    steps = images // settings.batch_size
    if steps < 1:
        raise UsageError(f"{images} images are less than one batch of {settings.batch_size}; give more with --images.")
    rate = settings.peak_rate if entrant.peak_rate is None else entrant.peak_rate
    return replace(settings, steps=steps, peak_rate=rate)


def _prepare(module: GraphModule, bench: Bench, entrant: Entrant, *, is_ours: bool) -> None:
    """Give a network statistics of its own; in our recipe its layers are fitted to the teacher's, too."""
    batches = bench.batches(RECALIBRATION_IMAGES)
    if is_ours and entrant.plan is not None:
        channels = trace_channels(bench.graph)
        students = Students(bench.graph, channels, blocks(bench.graph, channels=channels))
        meant = shipped_form(students.slim(bench.graph, entrant.plan))
        if structure_digest(meant) != structure_digest(shipped_form(module.source_graph)):
            raise UsageError(f"The cut of {entrant.name} that is kept is of another plan; delete it.")
        pairs = layer_pairs(students, bench.graph, entrant.plan, module.source_graph)
        refit(module, bench.teacher, pairs, batches)
    elif not entrant.is_random:
        recalibrate(module, batches)


def _ship(module: GraphModule, path: Path) -> Graph:
    shipped = shipped_form(from_torch(module))
    shipped.save(path)
    return shipped


def _teller(name: str) -> Callable[[DistilProgress], None]:
    started = time.monotonic()

    def tell(progress: DistilProgress) -> None:
        if progress.step % TOLD_EVERY and progress.step != progress.end_step:
            return
        best = "-" if progress.accuracy is None else f"{progress.accuracy:.4f}"
        print(
            f"{name}: step {progress.step} of {progress.end_step}, best validation {best}, "
            f"{time.monotonic() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    return tell
