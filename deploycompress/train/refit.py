"""Brings a cut network's answers back without training: layer by layer, the kernel of least squared error.

Each layer gets the kernel and offset with which its result, on what it now reads, comes nearest to what the teacher
makes there (He, Zhang and Sun 2017, section 3.2). What a layer adds to a residual stream also makes up for the error
that is in the stream already, and for what removed blocks behind it used to add.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from deploycompress.errors import DataError, ModelError
from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.compute import device_of
from deploycompress.train.generator import make_generator
from deploycompress.train.layer_pair import LayerPair
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
    mine, theirs = Walk(student, images), Walk(teacher, images, [job.target for job in jobs])
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
    return RefitReport(
        layers=tuple(fits),
        skipped=skipped,
        images=sum(map(len, images)),
        seconds=time.perf_counter() - started,
    )


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
