"""From the winner's graph to bytes that may leave: folded, proven equal to what was trained, measured as shipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnx

from deploycompress.errors import VerificationError
from deploycompress.graph import Graph
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import trusted_starts
from deploycompress.measuring.predict import predict
from deploycompress.network.inference import run_module
from deploycompress.network.module import GraphModule, from_torch
from deploycompress.pipeline.gate import THOROUGH_STARTS, THOROUGH_TIME
from deploycompress.pipeline.settings import ShipSettings
from deploycompress.plan import Plan
from deploycompress.profile import Profile
from deploycompress.surgery.oracle import Difference, check_plan, compare_outputs, random_inputs, run_graph
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, normalize_numpy
from deploycompress.train.score import ACCURACY, Answered

ORACLE_TOLERANCE = 1e-4
PARITY_TOLERANCE = 1e-3
MOST_BATCH = 250
BATCH_BYTES = 2**27  # of outputs: a dense output of 250 images would fill the memory
START_S = 1.0  # to start a measuring process and load two models several times


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the shipped graph is from what it must equal.

    Attributes:
        oracle: the slim graph against the masked teacher.
        torch_vs_ort: the trained module in torch against the shipped bytes in ONNX Runtime.
    """

    oracle: Difference
    torch_vs_ort: Difference


def finish(module: GraphModule) -> Graph:
    """Write trained weights back, and take out what the device need not compute."""
    return shipped_form(from_torch(module))


def verify(shipped: Graph, module: GraphModule, teacher: Graph, plan: Plan, *, seed: int) -> Parity:
    """Prove a graph before it ships.

    Raises:
        VerificationError: ONNX's checker refuses it, or a difference is beyond its tolerance. This is never the
            user's doing.
    """
    try:
        onnx.checker.check_model(shipped.to_onnx(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise VerificationError(f"The slim graph is no valid ONNX model: {error}") from error
    inputs = random_inputs(shipped, seed=seed)
    trained = compare_outputs(run_graph(shipped, inputs), run_module(module, inputs))
    _require(trained, PARITY_TOLERANCE, "the trained network")
    return Parity(oracle=prove_surgery(teacher, plan, seed=seed), torch_vs_ort=trained)


def prove_surgery(teacher: Graph, plan: Plan, *, seed: int) -> Difference:
    """Hold the slim graph against the masked teacher.

    Raises:
        VerificationError: they differ.
    """
    difference = check_plan(teacher, plan, seed=seed)
    _require(difference, ORACLE_TOLERANCE, "the masked teacher")
    return difference


def _require(difference: Difference, most: float, reference: str) -> None:
    if not difference.relative <= most:
        raise VerificationError(
            f"The slim graph differs from {reference} by {difference.relative:.2e} relative; at most {most:.0e} is "
            "right. Please report this with the model."
        )


def measure_teacher(baseline: Graph, devices: Devices, settings: ShipSettings) -> Measurement:
    """Measure the teacher as it would ship, beside itself, memory included; no limit is judged by it."""
    model = baseline.to_bytes()
    found = devices.measure(model, baseline=baseline, max_seconds=settings.seconds)
    return replace(found, peak_rss_bytes=devices.peak_rss_bytes(model))


def measure_shipped(
    model: bytes, baseline: Graph, devices: Devices, settings: ShipSettings, *, again: bool = False
) -> Measurement:
    """Measure the very bytes that ship beside the teacher, in several fresh processes, memory included.

    Args:
        model: what ships.
        baseline: the teacher.
        devices: measure.
        settings: how thoroughly.
        again: a verdict was inconclusive: take more processes and more time.
    """
    found = devices.measure(
        model,
        baseline=baseline,
        max_seconds=settings.seconds * (THOROUGH_TIME if again else 1),
        starts=(settings.starts or trusted_starts(devices.profile)) * (THOROUGH_STARTS if again else 1),
    )
    return replace(found, peak_rss_bytes=devices.peak_rss_bytes(model))


def shipping_seconds(settings: ShipSettings, profile: Profile) -> float:
    """Foresee what measuring what ships takes, if it needs no repetition."""
    return settings.seconds + START_S * (settings.starts or trusted_starts(profile))


def answered_in_runtime(model: bytes, data: Dataset, normalization: Normalization) -> Iterator[Answered]:
    """Ask ONNX Runtime about every image, in order, in batches whose outputs are of bounded size."""
    first = next(predict(model, [normalize_numpy(data.images[:1], normalization)]))
    size = max(1, min(MOST_BATCH, BATCH_BYTES // max(1, sum(output.nbytes for output in first))))
    parts = [slice(start, start + size) for start in range(0, len(data), size)]
    inputs = (normalize_numpy(data.images[part], normalization) for part in parts)
    for part, outputs in zip(parts, predict(model, inputs), strict=True):
        yield Answered(
            outputs=outputs,
            labels=None if data.labels is None else data.labels[part],
            answers=None if data.answers is None else tuple(answer[part] for answer in data.answers),
        )


def accuracy_in_runtime(model: bytes, data: Dataset, normalization: Normalization) -> float:
    """Classify every image with ONNX Runtime; answers that are not finite count as wrong."""
    return ACCURACY.take(answered_in_runtime(model, data, normalization))
