"""Differences between few runs, and whether they are more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

# Student's t at 97.5 %, for 1, 2, ... degrees of freedom.
QUANTILES = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
LEAST = 5e-5  # what four digits do not show


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of two means.

    Attributes:
        value: first minus second.
        error: its standard error; not a number where runs are too few.
        freedom: degrees of freedom of the error, rounded down.
    """

    value: float
    error: float
    freedom: int

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside of the 95 % interval; never without a spread between seeds to tell it from."""
        return self.error > 0 and abs(self.value) > QUANTILES[min(self.freedom, len(QUANTILES)) - 1] * self.error

    @property
    def words(self) -> str:
        """Say who is better, and whether that is more than noise; more is better."""
        if self.is_clear:
            return f"{self.shown}: **{'better' if self.value > 0 else 'worse'}**"
        if abs(self.value) < LEAST:
            return f"{self.shown}: equal"
        side = "higher" if self.value > 0 else "lower"
        if math.isnan(self.error):
            return f"{self.shown}: {side}, too few runs to judge"
        if self.error == 0:
            return f"{self.shown}: {side}, every seed alike"
        return f"{self.shown}: no clear difference ({side})"

    @property
    def plain_words(self) -> str:
        """Say how large it is, and whether that is more than noise, where more need not be better."""
        if math.isnan(self.error):
            return f"{self.shown}, too few runs to judge"
        return f"{self.shown}, {'more than' if self.is_clear else 'within'} noise"

    @property
    def shown(self) -> str:
        """Write it with its standard error."""
        error = "" if math.isnan(self.error) else f" ± {self.error:.4f}"
        return f"{self.value:+.4f}{error}"


def unpaired(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compare two sets of runs that have nothing in common (Welch); none where one is empty."""
    if not first or not second:
        return None
    value = fmean(first) - fmean(second)
    if min(len(first), len(second)) < 2:
        return Difference(value=value, error=math.nan, freedom=0)
    parts = [stdev(one) ** 2 / len(one) for one in (first, second)]
    if sum(parts) == 0:
        return Difference(value=value, error=0.0, freedom=1)
    below = sum(part**2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True))
    return Difference(value=value, error=math.sqrt(sum(parts)), freedom=max(int(sum(parts) ** 2 / below), 1))


def paired(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compare runs that share their seeds, one by one; none where there are none."""
    gaps = [one - other for one, other in zip(first, second, strict=True)]
    if not gaps:
        return None
    error = stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
    return Difference(value=fmean(gaps), error=error, freedom=len(gaps) - 1)


def spread(values: Sequence[float]) -> float | None:
    """Give the standard deviation between seeds; none for fewer than two."""
    return stdev(values) if len(values) > 1 else None
