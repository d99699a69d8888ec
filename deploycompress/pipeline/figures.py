"""Measurements as parts of a document: figures with their units in their names, and remarks on what disturbed them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval, least_samples
from deploycompress.measuring.measurement import Conditions, Measurement
from deploycompress.measuring.quiet import QUIET

Document = dict[str, Any]  # Any: JSON

BUSY_LOAD = 1.0  # load average before sampling; above it somebody else computes, and shares memory with every core


def describe_conditions(conditions: Conditions) -> Document:
    """Say where and how numbers were taken, as the head of a document."""
    return {
        "profile": conditions.profile,
        "profile_digest": conditions.profile_digest,
        "machine": {**asdict(conditions.machine), "onnxruntime": conditions.onnxruntime},
        "providers": list(conditions.providers),
        "threads": conditions.threads,
        "percentile": conditions.percentile,
        "confidence": conditions.confidence,
        "evidence": str(conditions.evidence),
    }


def ends(interval: Interval) -> list[float | None]:
    """Write an interval as JSON has it: null where nothing bounds it."""
    return [end if math.isfinite(end) else None for end in (interval.low, interval.high)]


def describe_latency(measurement: Measurement) -> Document:
    """Give the latency of one model, as result.json lays it out, with intervals."""
    percentile = measurement.conditions.percentile
    return {
        "p50": measurement.median_ms,
        "p50_interval": ends(measurement.latency_interval_ms(50)),
        f"p{percentile:g}": measurement.latency_ms,
        f"p{percentile:g}_interval": ends(measurement.latency_interval_ms()),
        "n": len(measurement.samples_ns),
        "starts": len(measurement.starts),
    }


def remarks(measurements: Sequence[Measurement], *, power_mode: str = "") -> list[str]:
    """Say what a reader should know before trusting the numbers, each thing once.

    Args:
        measurements: all that the numbers come from.
        power_mode: that the profile is of; empty when it is of none.
    """
    found = [
        remark
        for measurement in measurements
        for remark in (*_remarks(measurement), *_power_mode(measurement, power_mode), *_few_starts(measurement))
    ]
    return list(dict.fromkeys(found))


def _power_mode(measurement: Measurement, wanted: str) -> list[str]:
    conditions = measurement.conditions
    found = conditions.machine.power_mode
    if not wanted or wanted == found or conditions.evidence is Evidence.PROXY:
        return []
    return [
        f"the device's power mode is {found or 'unknown'}, profile {conditions.profile!r} is of {wanted}: set it with "
        "the device's own tool"
    ]


def _few_starts(measurement: Measurement) -> list[str]:
    if not measurement.baseline:
        return []
    starts, enough = len(measurement.start_ratios), least_samples(0.5, measurement.conditions.confidence)
    if starts >= enough:
        return []
    return [
        f"the ratio comes from {starts} process{'es' * (starts != 1)}, and its interval is over rounds: it leaves out "
        f"how much one process differs from the next, which takes --starts {enough}"
    ]


def _remarks(measurement: Measurement) -> list[str]:
    conditions, states = measurement.conditions, measurement.states
    said = []
    if conditions.evidence is Evidence.PROXY:
        said.append(
            f"proxy: this machine ({conditions.machine.cpu or conditions.machine.arch}) is not the device of profile "
            f"{conditions.profile!r}; ratios may carry over, milliseconds do not"
        )
    if any(state.throttled for state in states):
        said.append("the machine throttled while it measured; cool it or lower its clocks")
    if measurement.redone_rounds:
        said.append(f"{measurement.redone_rounds} rounds were disturbed and measured again")
    said += _disturbed(measurement)
    governors = sorted({state.governor for state in states if state.governor} - {"performance"})
    if governors:
        said.append(f"the frequency governor is {', '.join(governors)}; 'performance' gives steadier numbers")
    loads = [state.load_average for state in states if state.load_average is not None]
    if loads and loads[0] > BUSY_LOAD:
        said.append(f"something else was computing when sampling began (load average {loads[0]:.2g})")
    if not measurement.settled:
        said.append("latency had not settled when sampling began")
    return said


def _disturbed(measurement: Measurement) -> list[str]:
    if not measurement.baseline or measurement.slow_starts == 0:
        return []
    starts = len(measurement.starts)
    are_left_out = len(measurement.counted_starts) < starts
    return [
        f"something else used the machine in {measurement.slow_starts} of {starts} processes, where the baseline took "
        f"more than {QUIET:g} times what it takes at its fastest; the ratio is that of "
        + ("the others" if are_left_out else "all, for the others are too few")
    ]
