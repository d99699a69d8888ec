"""Measures which precision is fastest for the teacher, where the choice is left to the run."""

from __future__ import annotations

from dataclasses import replace

from deploycompress.graph import Graph
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.space import build_space
from deploycompress.precision import Precision
from deploycompress.quantize.costed import costed_form
from deploycompress.surgery.shipped import shipped_form

COMPARE_S = 1.0  # for measuring the teacher in one precision


def with_precision(job: Job, devices: Devices) -> Job:
    """Settle the precision of a job that leaves it open, and what may go at that precision.

    Args:
        job: any job; one whose precision is settled comes back as it is.
        devices: measure.
    """
    if job.precision is not None:
        return job
    profile, baseline = job.profile, shipped_form(job.teacher)
    native = [Precision(name) for name in profile.precision.native]
    choices = [one for one in native if one is not Precision.INT8 or job.is_calibrated]
    if len(choices) < len(native):
        job.progress.message("int8 is no choice without images to find ranges on; give --data.")
    ratios = _ratios(baseline, choices, job, devices)
    fastest = min(ratios, key=lambda one: ratios[one])
    shown = ", ".join(f"{one} {ratio:.2f}" for one, ratio in ratios.items())
    job.progress.message(f"The teacher's latency by precision, fp32 being 1: {shown}; {fastest} is searched and ships.")
    space = build_space(
        job.teacher, job.channels, job.offered, quanta=profile.channels.at(fastest),
        has_kernels=job.settings.space.kernels,
    )  # fmt: skip
    return replace(job, precision=fastest, space=space)


def _ratios(baseline: Graph, choices: list[Precision], job: Job, devices: Devices) -> dict[Precision, float]:
    """Measure each choice; what the device does not run is none."""
    ratios: dict[Precision, float] = {}
    for one in choices:
        try:
            ratios[one] = _ratio(baseline, one, job, devices)
        except FailedMeasurementError as error:
            if error.kind is FailureKind.INCONCLUSIVE or (one is choices[-1] and not ratios):
                raise
            job.progress.warning(f"{one} is no choice, it could not be measured: {error}")
    return ratios


def _ratio(baseline: Graph, precision: Precision, job: Job, devices: Devices) -> float:
    if precision is Precision.FP32:
        return 1.0
    costed = costed_form(baseline, precision, job.profile.precision.int8)
    return devices.measure(costed, baseline=baseline, max_seconds=COMPARE_S).ratio
