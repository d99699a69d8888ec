"""Fits one layer of a student, and lets held-out images judge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.train.normal_equations import NormalEquations
from deploycompress.train.patches import draw_positions, input_rows, value_rows
from deploycompress.train.refit_job import LayerJob
from deploycompress.train.refit_settings import LayerFit, RefitSettings
from deploycompress.train.result_map import ResultMap, read_map, write_kernel, write_norm, write_offset

_Change = tuple[Tensor, Tensor]  # of the kernel [G, M, P] and the offset [G, M]

EXACT = 1e-5  # relative errors below it are rounding
LEAST_FACTOR = 1e-4  # of the largest: channels that the norm scales by less hardly show what is fitted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerData:
    """What a layer is fitted on, one tensor for each batch.

    Attributes:
        inputs: what it reads.
        targets: the teacher's value to match.
        beside: what is added to its result; empty for nothing.
        judges: which images are held out to judge, shape [B].
    """

    inputs: Sequence[Tensor]
    targets: Sequence[Tensor]
    beside: Sequence[Tensor]
    judges: Sequence[Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Inputs [G, N, P], what is missing in the results [G, N, M], and the sum of the squared targets."""

    inputs: Tensor
    missing: Tensor
    target_square: float


def fit_layer(
    job: LayerJob, weights: Mapping[str, Tensor], data: LayerData, settings: RefitSettings, generator: torch.Generator
) -> LayerFit | str:
    """Give a layer the kernel and offset of least squared error where that helps on held-out images.

    What is solved for is the change of the kernel, so the ridge holds on to the old one.

    Args:
        job: the layer, and what it shall match.
        weights: the student's, by name; changed in place.
        data: values of all batches.
        settings: how.
        generator: draws positions.

    Returns:
        What became of it, or why it was left alone.

    Raises:
        ModelError: the networks give NaN or infinity there.
    """
    old = read_map(job.layer, job.place, weights)
    groups, outputs, inputs = old.kernel.shape
    if inputs > settings.most_unknowns:
        return f"its filters have {inputs} numbers, at most {settings.most_unknowns} are solved for"
    equations, judges = NormalEquations(groups, inputs, outputs, device=old.kernel.device), []
    for rows, is_judge in _rows(job, old, data, settings, generator):
        if is_judge:
            judges.append(rows)
        else:
            equations.add(rows.inputs, rows.missing)
    before = _error(judges)
    if before < EXACT:
        return LayerFit(weight=job.layer.weight, before=before, after=before, kept=False)
    changes = [_change(job, old, equations, ridge) for ridge in settings.ridges]
    errors = [_error(judges, change) for change in changes]
    after = min(errors)
    kept = after < before
    new = old.moved(*changes[errors.index(after)]) if kept else old
    write_kernel(job.layer, weights, new)
    if job.place.norm:
        write_norm(job.layer, job.place, weights, new, equations.moments(new.kernel))
    else:
        write_offset(job.layer, job.place, weights, new)
    return LayerFit(weight=job.layer.weight, before=before, after=after, kept=kept)


def _change(job: LayerJob, old: ResultMap, equations: NormalEquations, ridge: float) -> _Change:
    """Solve for what kernel and offset should grow by, in terms of the results."""
    has_offset = bool(job.layer.bias or job.place.added or job.place.norm)
    change, step = equations.solve(ridge=ridge, has_offset=has_offset)
    is_shown = (old.factor.abs() > LEAST_FACTOR * old.factor.abs().max()).double()
    return change * is_shown[:, :, None], step * is_shown


def _rows(
    job: LayerJob, old: ResultMap, data: LayerData, settings: RefitSettings, generator: torch.Generator
) -> Iterator[tuple[_Rows, bool]]:
    """Draw rows of each batch, for fitting and for judging."""
    layer, groups, device = job.layer, len(old.kernel), old.kernel.device
    per_image = math.ceil(settings.rows / sum(map(len, data.judges)))
    channels = torch.from_numpy(job.channels).to(device)
    for index, (value, target, judges) in enumerate(zip(data.inputs, data.targets, data.judges, strict=True)):
        places = target.numel() // len(judges) // target.shape[layer.channel_axis]
        positions = draw_positions(len(judges), places, per_image, generator=generator)
        inputs = input_rows(layer, value, positions).double()
        wanted = value_rows(layer, target, positions).double()[:, channels]
        beside = value_rows(layer, data.beside[index], positions).double() if data.beside else 0.0
        missing = (wanted - beside).reshape(len(wanted), groups, -1).transpose(0, 1) - old(inputs)
        if not bool(torch.isfinite(missing).all()):
            raise ModelError(
                f"Around layer {layer.weight!r} a network gives NaN or infinity on the calibration images; check its "
                "weights and the normalisation of the images."
            )
        by_row = judges.to(device).repeat_interleave(positions.shape[1])
        for is_judge in (False, True):
            chosen = by_row == is_judge
            if bool(chosen.any()):
                square = float(wanted[chosen].square().sum())
                yield _Rows(inputs=inputs[:, chosen], missing=missing[:, chosen], target_square=square), is_judge


def _error(judges: Sequence[_Rows], change: _Change | None = None) -> float:
    """Give the root of the squared error over that of the targets, after a change of kernel and offset."""
    squares, scale = 0.0, 0.0
    for rows in judges:
        left = rows.missing
        if change is not None:
            left = left - rows.inputs @ change[0].transpose(1, 2) - change[1][:, None, :]
        squares += float(left.square().sum())
        scale += rows.target_square
    if squares == 0.0:
        return 0.0
    return math.sqrt(squares / scale) if scale > 0 else math.inf
