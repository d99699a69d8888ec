"""What an interval says of a limit: held, broken, or not known."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What may be said of a limit once a quantity is known to lie in an interval."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


def judge_interval(low: float, high: float, bound: float) -> Verdict:
    """Hold an interval against an upper limit.

    Args:
        low: lower end; NaN where it is not known.
        high: upper end; NaN where it is not known.
        bound: the limit, which itself is allowed.

    Returns:
        Pass when all of the interval is allowed, fail when none of it is, else inconclusive, as for NaN.

    Examples:
        >>> [str(judge_interval(low, low + 2, 10)) for low in (7, 9, 11)]
        ['pass', 'inconclusive', 'fail']
    """
    if low <= high <= bound:
        return Verdict.PASS
    return Verdict.FAIL if bound < low <= high else Verdict.INCONCLUSIVE


def sum_intervals(terms: Iterable[tuple[float, float, float]]) -> tuple[float, float]:
    """Bound a weighted sum of quantities that each lie in an interval.

    Args:
        terms: factor, lower end and upper end of each; a negative factor turns its interval around.

    Returns:
        Lower and upper end. They cover the sum whenever every interval covers its quantity.
    """
    low = high = 0.0
    for factor, lower, upper in terms:
        ends = (factor * lower, factor * upper) if factor else (0.0, 0.0)
        low, high = low + ends[factor < 0], high + ends[factor >= 0]
    return low, high
