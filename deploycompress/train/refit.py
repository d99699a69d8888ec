"""Brings a cut network's answers back without training: layer by layer, the kernel of least squared error.

Each layer gets the kernel and offset with which its result, on what it now reads, comes nearest to what the teacher
makes there (He, Zhang and Sun 2017, section 3.2). What a layer adds to a residual stream also makes up for the error
that is in the stream already, and for what removed blocks behind it used to add.
Batch norms get the statistics of what they now read on the way, except where nothing has changed before them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Node
from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.compute import device_of
from deploycompress.train.generator import make_generator
from deploycompress.train.layer_pair import LayerPair
from deploycompress.train.matching import untouched_values
from deploycompress.train.refit_job import LayerJob, plan_jobs
from deploycompress.train.refit_layer import LayerData, fit_layer
from deploycompress.train.refit_settings import LayerFit, RefitReport, RefitSettings
from deploycompress.train.walk import Walk, peak_bytes

LEAST_IMAGES = 2
HELD_OUT = 5  # one image of so many judges what the others gave


def refit(
    student: GraphModule,
    teacher: GraphModule,
    pairs: Sequence[LayerPair],
    batches: Iterable[Batch],
    *,
    settings: RefitSettings | None = None,
) -> RefitReport:
    """Give a student's layers the weights of least squared error, in place, one layer after the other.

    Both networks run once over all images, in step, so what they hold at a time is held for all images together.

    Args:
        student: the cut network, batch norms not folded; its kernels, biases and norms change.
        teacher: the network it was cut from, on the same device.
        pairs: their common layers, in the student's order.
        batches: normalised images [B, C, H, W] (labels are not used); two images at least.
        settings: `None` takes the defaults.

    Raises:
        DataError: there are fewer than two images, or one holds NaN or infinity.
        ModelError: a weight does, or what a network makes of the images.
    """
    started = time.perf_counter()
    how = settings or RefitSettings()
    each = peak_bytes(student.source_graph) + peak_bytes(teacher.source_graph)
    images = _images(batches, max(how.most_bytes // max(each, 1), LEAST_IMAGES), device_of(student))
    _check_weights(student, "student")
    _check_weights(teacher, "teacher")
    jobs, skipped = plan_jobs(student.source_graph, teacher.source_graph, pairs, matches_stream=how.matches_stream)
    weights = _weights(student)
    norms = _Norms(student, teacher)
    mine = Walk(student, images, renews=norms.are_stale)
    theirs = Walk(teacher, images, [job.target for job in jobs])
    judges, generator = _judges(images), make_generator(how.seed)
    fits: list[LayerFit] = []
    for job in jobs:
        mine.before(job.layer.output)
        data = LayerData(
            inputs=mine.values(job.layer.input),
            targets=theirs.take(job.target),
            beside=mine.values(job.beside) if job.beside else (),
            judges=judges,
        )
        with torch.no_grad():
            found = _fit(job, weights, data, how, generator)
        if isinstance(found, str):
            skipped[job.layer.weight] = found
        else:
            fits.append(found)
            norms.note(job, found)
    mine.finish_norms()
    return RefitReport(
        layers=tuple(fits),
        skipped=skipped,
        images=sum(map(len, images)),
        seconds=time.perf_counter() - started,
    )


class _Norms:
    """Knows which batch norms still have statistics of what the teacher's read."""

    def __init__(self, student: GraphModule, teacher: GraphModule) -> None:
        self._graphs = student.source_graph, teacher.source_graph
        self._touched = _touched(student, teacher)
        self._settled: set[str] = set()

    def note(self, job: LayerJob, fit: LayerFit) -> None:
        """Take in that a layer was looked at, and the norm behind it with it."""
        self._settled.update(job.place.norm)
        if fit.kept:
            self._touched.add(job.layer.weight)

    def are_stale(self, norm: Node) -> bool:
        """Say of one whether it needs others."""
        is_settled = norm.input(3) in self._settled
        return not is_settled and norm.inputs[0] not in untouched_values(*self._graphs, self._touched)


def _fit(
    job: LayerJob, weights: dict[str, Tensor], data: LayerData, how: RefitSettings, generator: torch.Generator
) -> LayerFit | str:
    needed = (job.layer.weight, job.layer.bias, job.place.added, *job.place.norm)
    fixed = next((name for name in needed if name and name not in weights), None)
    if fixed is not None:
        return f"{fixed!r} is a constant that is not trained"
    parts = [(len(value), len(judges)) for value, judges in zip(data.inputs, data.judges, strict=True)]
    if any(length % images or (job.layer.axes and length != images) for length, images in parts):
        return "what it reads does not split by images"
    return fit_layer(job, weights, data, how, generator)


def _images(batches: Iterable[Batch], most: int, device: torch.device) -> list[Tensor]:
    found: list[Tensor] = []
    for index, (images, _) in enumerate(batches):
        if not bool(torch.isfinite(images).all()):
            raise DataError(f"Calibration batch {index} holds NaN or infinity; remove or repair its images.")
        left = most - sum(map(len, found))
        if left <= 0:
            break
        found.append(images[:left].to(device))
    count = sum(map(len, found))
    if count < LEAST_IMAGES:
        raise DataError(f"{count} calibration images; expected two at least, one to fit layers on and one to judge.")
    return found


def _judges(images: Sequence[Tensor]) -> list[Tensor]:
    """Mark the images that judge, one at least; shape [B] for each batch."""
    count = sum(map(len, images))
    marks = torch.arange(count) % HELD_OUT == min(HELD_OUT, count) - 1
    return list(torch.split(marks, [len(part) for part in images]))


def _weights(module: GraphModule) -> dict[str, Tensor]:
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: state[key].detach() for name, key in module.state_keys().items()}


def _check_weights(module: GraphModule, who: str) -> None:
    for name, tensor in _weights(module).items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"Weight {name!r} of the {who} holds NaN or infinity; start from a sound model.")


def _touched(student: GraphModule, teacher: GraphModule) -> set[str]:
    """Name the student's constants that are not the teacher's."""
    mine, theirs = _weights(student), _weights(teacher)
    arrays, others = student.source_graph.weights, teacher.source_graph.weights
    found = set()
    for name, array in arrays.items():
        if name in mine and name in theirs:
            is_same = mine[name].dtype == theirs[name].dtype and torch.equal(mine[name], theirs[name])
        else:
            is_same = name not in mine and name in others and np.array_equal(array, others[name])
        if not is_same:
            found.add(name)
    return found
