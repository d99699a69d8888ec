"""Limits on a student: each constraint is one row of A x <= b over named metrics (N2N, section 3.3.1)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploycompress.errors import UsageError

METRICS: Mapping[str, str] = {
    "latency_ms": "measured latency at the profile's percentile, milliseconds",
    "latency_ratio": "student's median latency over the teacher's, interleaved in one run",
    "params": "number of trained parameters",
    "params_ratio": "student's parameters over the teacher's",
    "macs": "multiply-accumulate operations for one sample",
    "macs_ratio": "student's multiply-accumulates over the teacher's",
    "weights_mib": "size of all constants, MiB",
    "file_mib": "size of model.onnx, MiB",
    "file_ratio": "size of the student's file over the teacher's",
    "activation_peak_mib": "largest sum of live activations for one sample, MiB",
    "activation_peak_ratio": "student's largest sum of live activations over the teacher's",
    "peak_rss_mib": "peak resident memory over an empty session, MiB",
    "accuracy": "share of validation samples classified right",
}

ANALYTIC_METRICS = frozenset({"params", "params_ratio", "macs", "macs_ratio", "weights_mib", "file_mib", "file_ratio"})

COMPARABLE_METRICS = ANALYTIC_METRICS | {"latency_ratio", "activation_peak_ratio", "accuracy"}
"""Metrics that mean something on another machine than the profile's device, too."""

_TERM = re.compile(r"^(?:(?P<factor>[0-9.eE+-]+)\*)?(?P<metric>[a-z_]+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One row: the weighted sum of metrics must not exceed a bound.

    Attributes:
        terms: (metric, factor) pairs of the row of A.
        bound: the entry of b.
        expression: the row as its author wrote it.
    """

    terms: tuple[tuple[str, float], ...]
    bound: float
    expression: str

    @property
    def metrics(self) -> frozenset[str]:
        """Name the metrics that the row reads."""
        return frozenset(metric for metric, _ in self.terms)

    def value(self, metrics: Mapping[str, float]) -> float:
        """Compute the left side of the row.

        Raises:
            KeyError: a metric was not measured; a missing number is never taken as fulfilled.
        """
        return sum(factor * metrics[metric] for metric, factor in self.terms)

    def is_met(self, metrics: Mapping[str, float]) -> bool:
        """Say whether the row holds; NaN does not."""
        return self.value(metrics) <= self.bound

    @property
    def shown_bound(self) -> float:
        """The limit as its author wrote it: rows with `>=` are kept with their signs turned."""
        return -self.bound if ">=" in self.expression else self.bound

    def shown_value(self, metrics: Mapping[str, float]) -> float:
        """Compute the left side as its author wrote it."""
        return -self.value(metrics) if ">=" in self.expression else self.value(metrics)

    def tightened(self, margin: float) -> Constraint:
        """Make the row stricter by a share of its bound, so that noise does not break the original."""
        return replace(self, bound=self.bound - margin * abs(self.bound))

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Give by how much the row is broken, relative to the bound's size; zero or less when it holds."""
        value = self.value(metrics)
        return math.inf if math.isnan(value) else (value - self.bound) / max(abs(self.bound), 1e-12)


def parse_constraint(expression: str) -> Constraint:
    """Read `latency_ms + 0.05*peak_rss_mib <= 12`; `>=` turns the row around.

    Raises:
        UsageError: the text is no linear inequality, or names an unknown metric.
    """
    parts = re.split(r"(<=|>=)", expression)
    if len(parts) != 3:
        raise UsageError(
            f"Constraint {expression!r} is not of the form 'metric <= number', such as 'latency_ratio <= 0.5'."
        )
    left, relation, right = parts
    try:
        bound = float(right)
    except ValueError as error:
        raise UsageError(f"Constraint {expression!r}: the limit {right.strip()!r} is not a number.") from error
    if not math.isfinite(bound):
        raise UsageError(f"Constraint {expression!r}: the limit must be finite.")
    sign = 1.0 if relation == "<=" else -1.0
    terms = tuple((metric, sign * factor) for metric, factor in _parse_terms(left, expression))
    return Constraint(terms=terms, bound=sign * bound, expression=" ".join(expression.split()))


def make_constraint(terms: Mapping[str, float], maximum: float) -> Constraint:
    """Build a row from a profile's table of factors, to the last digit.

    Raises:
        UsageError: a metric is unknown, a number is not finite, or there is no term.
    """
    text = "".join(
        f" {'-' if factor < 0 else '+'} {'' if abs(factor) == 1 else f'{abs(factor)!r}*'}{metric}"
        for metric, factor in terms.items()
    )
    return parse_constraint(f"{text.removeprefix(' + ').strip()} <= {maximum!r}")


def _parse_terms(left: str, expression: str) -> list[tuple[str, float]]:
    compact = re.sub(r"\s+", "", left)
    pieces = re.sub(r"(?<![eE*+-])(?=[+-])", " ", compact).split()
    terms = []
    for piece in pieces:
        sign = -1.0 if piece.startswith("-") else 1.0
        match = _TERM.match(piece[1:] if piece[0] in "+-" else piece)
        if not match:
            raise UsageError(
                f"Constraint {expression!r}: {piece!r} is not a metric or number*metric, such as '0.05*peak_rss_mib'."
            )
        metric = match["metric"]
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METRICS)}."
            raise UsageError(f"Constraint {expression!r} names the unknown metric {metric!r}; {hint}")
        try:
            factor = float(match["factor"] or 1.0)
        except ValueError as error:
            raise UsageError(f"Constraint {expression!r}: {match['factor']!r} is not a number.") from error
        if not math.isfinite(factor):
            raise UsageError(f"Constraint {expression!r}: the factor {match['factor']!r} is not finite.")
        terms.append((metric, sign * factor))
    if not terms:
        raise UsageError(f"Constraint {expression!r} has no metric on its left side.")
    return terms
