"""Measures staircases and students with a meter, in the precision that ships; all in turns with a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from deploycompress.calibration.features import graph_features
from deploycompress.calibration.fit import Student
from deploycompress.calibration.owners import owner_of
from deploycompress.calibration.quantum import WidthTime
from deploycompress.calibration.staircase import Sweep, staircase_network
from deploycompress.graph import Graph
from deploycompress.measuring.interval import quantile, quantile_interval
from deploycompress.measuring.measurement import NS_PER_MS, Conditions, Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.node_times import KernelTime
from deploycompress.profile import ChannelSteps

Shipping = Callable[[Graph], Graph]
"""Brings a graph from single precision into that in which it would ship (`quantize.costed.costed_form`)."""

LEAST_SAMPLES = 64

UNDISTURBED = 0.1
"""Quantile of latency that calibration goes by: what a run takes when nothing interrupts it. The median of a long run
on a machine that does other things as well holds their time, that of a short run does not."""


def measure_staircase(meter: Meter, sweep: Sweep, *, shipping: Shipping, seconds: float) -> tuple[WidthTime, ...]:
    """Measure a staircase, all widths in turns, so that a change of the machine's mood touches all alike.

    Args:
        meter: measures.
        sweep: what to measure.
        shipping: gives the precision to measure in.
        seconds: time for sampling all widths together.

    Raises:
        FailedMeasurementError: a width could not be measured.
        MeasureError: the device or its execution provider is not available.
    """
    networks = [shipping(staircase_network(sweep, width, meter.profile.runtime)) for width in sweep.widths]
    found = meter.measure_together(networks, max_seconds=seconds, min_samples=LEAST_SAMPLES)
    return tuple(width_time(width, measurement) for width, measurement in zip(sweep.widths, found, strict=True))


def width_time(width: int, measurement: Measurement) -> WidthTime:
    """Take the undisturbed latency of one width out of its measurement."""
    samples = measurement.samples_ns
    bounds = quantile_interval(samples, UNDISTURBED, measurement.conditions.confidence)
    ns = quantile(samples, UNDISTURBED)
    return WidthTime(
        width=width,
        ms=ns / NS_PER_MS,
        low_ms=max(bounds.low, min(samples)) / NS_PER_MS,
        high_ms=min(bounds.high, max(samples)) / NS_PER_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStudent:
    """A student with what was known when it was measured.

    Attributes:
        student: the student.
        baseline_ms: the teacher's undisturbed latency at that time.
        conditions: machine, runtime and profile.
    """

    student: Student
    baseline_ms: float
    conditions: Conditions


def measure_student(
    meter: Meter, student: Graph, baseline: Graph, *, shipping: Shipping, quanta: ChannelSteps, seconds: float
) -> MeasuredStudent:
    """Measure a student beside its teacher, and its kernels.

    Args:
        meter: measures.
        student: in the form that ships (`surgery.shipped.shipped_form`), in single precision.
        baseline: the teacher in the precision that is measured.
        shipping: gives the precision to measure in.
        quanta: for the student's features.
        seconds: time for sampling latency.

    Raises:
        FailedMeasurementError: the student could not be measured.
        MeasureError: the device or its execution provider is not available.
    """
    shipped = shipping(student)
    measurement = meter.measure(shipped, baseline=baseline, max_seconds=seconds, min_samples=LEAST_SAMPLES)
    nodes = {node.name: node for node in student.nodes}
    node_us: dict[str, float] = {}
    other_us = 0.0
    for kernel in meter.node_times(shipped).kernels:
        owner = owner_of(kernel, nodes)
        if owner:
            node_us[owner] = node_us.get(owner, 0.0) + _typical_us(kernel)
        else:
            other_us += _typical_us(kernel)
    found = Student(
        features=graph_features(student, quanta),
        node_us=node_us,
        other_us=other_us,
        ratio=undisturbed_ratio(measurement),
    )
    return MeasuredStudent(student=found, baseline_ms=measurement.baseline_median_ms, conditions=measurement.conditions)


def undisturbed_ratio(measurement: Measurement) -> float:
    """Give a model's latency over its baseline's, both undisturbed; of several processes, the median ratio."""
    ratios, begin = [], 0
    for rounds in measurement.starts:
        mine, others = (
            quantile([ns for block in part[begin : begin + rounds] for ns in block], UNDISTURBED)
            for part in (measurement.student_ns, measurement.baseline_ns)
        )
        ratios.append(mine / others)
        begin += rounds
    return median(ratios)


def _typical_us(kernel: KernelTime) -> float:
    """Average the faster half of the runs: the profiler's clock ticks in microseconds, and a mean sees between them."""
    ordered = np.sort(kernel.microseconds)
    return float(np.mean(ordered[: -(-len(ordered) // 2)]))
