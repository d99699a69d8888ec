"""Confidence intervals that assume nothing of how latency is distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rounds = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A range that covers the true value with the stated confidence; infinite where the samples cannot bound it."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an interval needs low <= high, got {self.low} and {self.high}")


def quantile(samples: Sequence[int], share: float) -> float:
    """Give the smallest sample that at least a share of all samples does not exceed; the middle for the median.

    Args:
        samples: at least one, in any order.
        share: in (0, 1).
    """
    if share == 0.5:
        return float(np.median(samples))
    return float(np.sort(samples)[max(math.ceil(share * len(samples)) - 1, 0)])


def quantile_interval(samples: Sequence[int], share: float, confidence: float) -> Interval:
    """Bound a quantile of the distribution by order statistics, exactly and for any distribution.

    The number of samples below the quantile is binomial (n, share). The bounds are the innermost order statistics that
    leave at most half of the error on each side (David and Nagaraja, Order Statistics, section 7.1).

    Args:
        samples: independent samples, in any order.
        share: which quantile, in (0, 1).
        confidence: least probability that the interval covers it, in (0, 1).
    """
    ordered = np.sort(samples)
    below = _binomial_cumulative(len(ordered), share)
    tail = (1 - confidence) / 2
    lower_rank = int(np.searchsorted(below, tail, side="right"))  # ranks count from one
    upper_rank = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    low = float(ordered[lower_rank - 1]) if lower_rank >= 1 else -math.inf
    high = float(ordered[upper_rank - 1]) if upper_rank <= len(ordered) else math.inf
    return Interval(low=low, high=high)


def ratio_interval(
    numerator: Rounds, denominator: Rounds, confidence: float, generator: np.random.Generator, *, resamples: int = 1000
) -> Interval:
    """Bound the ratio of two medians by drawing whole rounds anew.

    Samples of one round share the machine's mood, and so do the two models' rounds of one index; drawing rounds instead
    of samples keeps both facts (the cluster bootstrap).

    Args:
        numerator: samples of the one model by round.
        denominator: samples of the other by round, as many rounds.
        confidence: level, in (0, 1).
        generator: source of the draws.
        resamples: number of draws.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"the models have {len(numerator)} and {len(denominator)} rounds; they must have equally many")
    above, below = [np.asarray(part) for part in numerator], [np.asarray(part) for part in denominator]
    ratios = []
    for _ in range(resamples):
        drawn = generator.integers(len(above), size=len(above))
        ratios.append(_median_of(above, drawn) / _median_of(below, drawn))
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def _median_of(rounds: list[NDArray[np.int64]], drawn: NDArray[np.int64]) -> float:
    return float(np.median(np.concatenate([rounds[index] for index in drawn])))


def _binomial_cumulative(count: int, share: float) -> NDArray[np.float64]:
    """Give P(X <= k) for k = 0..count."""
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count + 1)))))
    k = np.arange(count + 1)
    log_choose = log_factorial[count] - log_factorial[k] - log_factorial[count - k]
    return np.cumsum(np.exp(log_choose + k * math.log(share) + (count - k) * math.log1p(-share)))
