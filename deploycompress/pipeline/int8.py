"""Brings a network to 8 bits: ranges found on training images, the way of finding them chosen on validation images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.graph import Array, Graph
from deploycompress.pipeline.asking import answered_in_runtime
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.settings import Ranges
from deploycompress.quantize.bias_correction import bias_corrected
from deploycompress.quantize.equalize import equalized
from deploycompress.quantize.ranges import RangeMethod, find_ranges
from deploycompress.quantize.ranges import Ranges as FoundRanges
from deploycompress.quantize.static import quantized
from deploycompress.train.normalize import normalize_numpy

BATCH = 64
BIAS_CORRECTED = "bias corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """A network in 8 bits, not trained there.

    Attributes:
        graph: as it would ship.
        source: the float network that was quantised: the given one, with what was done to it before.
        uncorrected: the same before its biases were corrected, which is right for one choice of layers alone.
        steps: what that was, such as `equalized`.
        ranges: of its activations.
        method: that found them.
        score: on the validation images, in ONNX Runtime.
    """

    graph: Graph
    source: Graph
    uncorrected: Graph
    steps: tuple[str, ...] = ()
    ranges: FoundRanges
    method: RangeMethod
    score: float


def in_int8(job: Job, shipped: Graph, *, higher: Collection[str] = ()) -> Int8:
    """Quantise a network in its shipped form, in the way that the validation images like best.

    Ways of finding ranges come first; then cross-layer equalisation and bias correction, each where it helps.

    Args:
        job: data, format and settings.
        shipped: in single precision.
        higher: layers that stay so.
    """
    asked = job.settings.quantization.ranges
    methods = tuple(RangeMethod) if asked is Ranges.AUTO else (RangeMethod(asked.value),)
    images = calibration_images(job)
    found = [quickly_in_int8(job, shipped, method=method, higher=higher, images=images) for method in methods]
    best = max(found, key=lambda one: one.score)  # of equals the first, which is the simplest
    form = job.profile.precision.int8
    steps: Mapping[str, Callable[[Graph], Graph]] = {
        "equalized": equalized,
        BIAS_CORRECTED: lambda graph: bias_corrected(graph, images, form, higher=higher),
    }
    for name, step in steps.items():
        other = quickly_in_int8(job, step(best.source), method=best.method, higher=higher, images=images)
        if other.score > best.score:
            before = best.source if name == BIAS_CORRECTED else other.source
            best = replace(other, steps=(*best.steps, name), uncorrected=before)
    return best


def quickly_in_int8(
    job: Job,
    shipped: Graph,
    *,
    method: RangeMethod = RangeMethod.MIN_MAX,
    higher: Collection[str] = (),
    images: list[Array] | None = None,
) -> Int8:
    """Quantise a network in one way, to compare it with others.

    Args:
        job: data, format and settings.
        shipped: in single precision.
        method: of finding ranges.
        higher: layers that stay in single precision.
        images: to find them on; none for the run's own.
    """
    ranges = find_ranges(shipped, images or calibration_images(job), method=method)
    graph = quantized(shipped, ranges, job.profile.precision.int8, higher=higher)
    return Int8(
        graph=graph,
        source=shipped,
        uncorrected=shipped,
        ranges=ranges,
        method=method,
        score=validation_score(job, graph),
    )


def calibration_images(job: Job) -> list[Array]:
    """Draw training images, normalised, float32 [B, C, H, W]; the same for every network of a run."""
    data, wanted = job.task.training, job.settings.quantization.images
    chosen = np.random.default_rng(job.seed).choice(len(data), size=min(wanted, len(data)), replace=False)
    parts = np.array_split(chosen, -(-len(chosen) // BATCH))
    return [normalize_numpy(data.images[part], job.task.normalization) for part in parts]


def validation_score(job: Job, graph: Graph) -> float:
    """Judge a network in ONNX Runtime on the images that rewards see, as training does: a user's metric is relative."""
    answered = answered_in_runtime(graph.to_bytes(), job.task.validation, job.task.normalization)
    return job.task.score.take(answered)
