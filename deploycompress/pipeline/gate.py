"""Limits held against what was measured: one row of result.json each, with the verdict that its interval allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from deploycompress.constraint import ANALYTIC_METRICS, COMPARABLE_METRICS, Constraint
from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Measurement
from deploycompress.verdict import Verdict, judge_interval, sum_intervals

Row = dict[str, Any]  # Any: JSON

MET, BROKEN, UNKNOWN = 0, 1, 4
THOROUGH_STARTS, THOROUGH_TIME = 2, 3.0  # factors: what a second measurement takes more than the first

_OK = {Verdict.PASS: True, Verdict.FAIL: False}
_ACTIVATIONS = frozenset({"activation_peak_mib", "activation_peak_ratio"})
_PROXY = (
    "measured on another machine than the profile's device, where an absolute limit says nothing; measure on the "
    "device with --target, or let check judge it all the same with --allow-proxy"
)

Reading = TypeVar("Reading")


def judge(
    constraints: Sequence[Constraint],
    metrics: Mapping[str, float],
    measurement: Measurement,
    *,
    allow_proxy: bool = False,
    bounds: Mapping[str, Interval] | None = None,
) -> list[Row]:
    """Hold metrics against constraints.

    Args:
        constraints: the limits.
        metrics: values by name; those the measurement knows count with its intervals, all others as exact.
        measurement: where the measured ones come from.
        allow_proxy: judge absolute limits by what another machine than the profile's device took, too.
        bounds: intervals of metrics that were sampled beside the measurement.

    Returns:
        One row of result.json each, in their order, as `make_row` makes them.
    """
    known = {name: measurement.interval(name) for name in measurement.metrics()} | dict(bounds or {})
    return [_judge_row(row, metrics, measurement, known, allow_proxy=allow_proxy) for row in constraints]


def make_row(
    expression: str, value: float, bound: float, interval: Interval, *, evidence: Evidence, refusal: str = ""
) -> Row:
    """Judge one quantity.

    Args:
        expression: the limit as its author wrote it.
        value: what was found; NaN when nothing was.
        bound: the largest value that is allowed.
        interval: where the true value lies.
        evidence: how the value came to be.
        refusal: why it cannot be judged; empty when it can.

    Returns:
        `expression`, `value`, `max`, `interval` (each end null where nothing bounds it), `verdict` (null when not
        judged), `ok` (true, false, or null when not known), `evidence` and `reason`.
    """
    verdict = None if refusal else judge_interval(interval.low, interval.high, bound)
    return {
        "expression": expression,
        "value": _finite(value),
        "max": bound,
        "interval": [_finite(interval.low), _finite(interval.high)],
        "verdict": None if verdict is None else str(verdict),
        "ok": _OK.get(verdict) if verdict is not None else None,
        "evidence": str(evidence),
        "reason": refusal,
    }


def exit_code(rows: Iterable[Row]) -> int:
    """Say with which exit code a program ends: 1 when a limit is broken, else 4 when one is not known to hold, else 0.

    Examples:
        >>> exit_code([{"ok": True}, {"ok": None}])
        4
    """
    known = [row["ok"] for row in rows]
    return BROKEN if False in known else UNKNOWN if None in known else MET


def until_conclusive(take: Callable[[bool], tuple[Reading, list[Row]]]) -> tuple[Reading, list[Row]]:
    """Measure, and once more thoroughly when a verdict is inconclusive; the second reading then stands alone.

    Args:
        take: measures and judges; its argument says whether to do it thoroughly.
    """
    found = take(False)
    is_open = any(row["verdict"] == Verdict.INCONCLUSIVE for row in found[1])
    return take(True) if is_open else found


def _judge_row(
    row: Constraint,
    metrics: Mapping[str, float],
    measurement: Measurement,
    known: Mapping[str, Interval],
    *,
    allow_proxy: bool,
) -> Row:
    evidence = _evidence(row, measurement)
    missing = sorted(row.metrics - metrics.keys())
    if missing:
        return make_row(
            row.expression, math.nan, row.bound, Interval(low=-math.inf, high=math.inf), evidence=evidence,
            refusal=f"{', '.join(missing)} was not measured",
        )  # fmt: skip
    low, high = sum_intervals((factor, *_ends(metric, metrics, known)) for metric, factor in row.terms)
    is_telling = allow_proxy or evidence is not Evidence.PROXY or row.metrics <= COMPARABLE_METRICS
    interval = Interval(low=low, high=high) if low <= high else Interval(low=-math.inf, high=math.inf)
    return make_row(
        row.expression, row.value(metrics), row.bound, interval, evidence=evidence,
        refusal="" if is_telling else _PROXY,
    )  # fmt: skip


def _ends(metric: str, metrics: Mapping[str, float], known: Mapping[str, Interval]) -> tuple[float, float]:
    if metric not in known:
        return metrics[metric], metrics[metric]
    return known[metric].low, known[metric].high


def _evidence(row: Constraint, measurement: Measurement) -> Evidence:
    """Give the weakest evidence among a row's metrics; what is counted is exact and weakens nothing."""
    taken = row.metrics - ANALYTIC_METRICS - {"accuracy"}
    kinds = {measurement.activation_evidence if metric in _ACTIVATIONS else measurement.evidence for metric in taken}
    if Evidence.PROXY in kinds:
        return Evidence.PROXY
    if Evidence.ANALYTIC in kinds or not row.metrics - ANALYTIC_METRICS:
        return Evidence.ANALYTIC
    return Evidence.MEASURED


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if math.isfinite(value) else None
