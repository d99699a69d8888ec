"""From the winner's graph to bytes that may leave: folded, proven equal to what was trained, measured as shipped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx

from deploycompress.errors import VerificationError
from deploycompress.graph import Array, Graph
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import trusted_starts
from deploycompress.network.inference import run_module
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.pipeline.gate import THOROUGH_STARTS, THOROUGH_TIME
from deploycompress.pipeline.lower import Lowered
from deploycompress.pipeline.settings import ShipSettings
from deploycompress.plan import Plan
from deploycompress.profile import Profile
from deploycompress.surgery.oracle import Difference, check_plan, compare_outputs, random_inputs, run_graph

ORACLE_TOLERANCE = 1e-4
PARITY_TOLERANCE = 1e-3
LOWERED_TOLERANCE = 0.25  # of the largest output: roundings at their middle add up to some steps of 8 bits, no more
START_S = 1.0  # to start a measuring process and load two models several times


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far the shipped graph is from what it must equal.

    Attributes:
        oracle: the slim graph against the masked teacher.
        torch_vs_ort: the trained module in torch against its single precision in ONNX Runtime.
        lowered: what ships in torch against ONNX Runtime, where that is not single precision.
    """

    oracle: Difference
    torch_vs_ort: Difference
    lowered: Difference | None = None


def verify(lowered: Lowered, module: GraphModule, teacher: Graph, plan: Plan, *, images: Array, seed: int) -> Parity:
    """Prove a graph before it ships.

    Args:
        lowered: what ships, and the same in single precision.
        module: the trained winner.
        teacher: it was cut from this.
        plan: by this.
        images: training images, normalised, float32 [B, C, H, W].
        seed: of random inputs.

    Raises:
        VerificationError: ONNX's checker refuses it, or a difference is beyond its tolerance. This is never the
            user's doing.
    """
    shipped, single = lowered.graph, lowered.single
    try:
        onnx.checker.check_model(shipped.to_onnx(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise VerificationError(f"The slim graph is no valid ONNX model: {error}") from error
    inputs = random_inputs(single, seed=seed)
    trained = compare_outputs(run_graph(single, inputs), run_module(module, inputs))
    _require(trained, PARITY_TOLERANCE, "the trained network")
    proven = prove_surgery(teacher, plan, seed=seed)
    if shipped is single:
        return Parity(oracle=proven, torch_vs_ort=trained)
    real = dict.fromkeys(inputs, images)  # what the ranges of 8 bits are for; noise lies beyond them
    executed = compare_outputs(run_graph(shipped, real), run_module(to_torch(shipped), real))
    _require(executed, LOWERED_TOLERANCE, "the same graph in torch")
    return Parity(oracle=proven, torch_vs_ort=trained, lowered=executed)


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


def measure_beside(graph: Graph, baseline: Graph, devices: Devices, settings: ShipSettings) -> Measurement:
    """Measure a network beside the teacher, memory included, in one process; no limit is judged by it."""
    model = graph.to_bytes()
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
        starts=thorough_starts(settings, devices.profile, again=again),
    )
    return replace(found, peak_rss_bytes=devices.peak_rss_bytes(model))


def shipping_seconds(settings: ShipSettings, profile: Profile) -> float:
    """Foresee what measuring what ships takes, if it needs no repetition."""
    return settings.seconds + START_S * thorough_starts(settings, profile)


def thorough_starts(settings: ShipSettings, profile: Profile, *, again: bool = False) -> int:
    """Give the fresh processes of a measurement that a limit is judged by; more when it was inconclusive before."""
    return (settings.starts or trusted_starts(profile)) * (THOROUGH_STARTS if again else 1)
