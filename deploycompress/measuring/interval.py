"""Confidence intervals by order statistics, which assume nothing of how latency is distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-11  # probabilities that are equal may differ by so much as floating-point numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A range that covers the true value with the stated confidence; infinite where the samples cannot bound it."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an interval needs low <= high, got {self.low} and {self.high}")

    def hull(self, other: Interval) -> Interval:
        """Give the smallest interval that holds both."""
        return Interval(low=min(self.low, other.low), high=max(self.high, other.high))

    def scaled(self, factor: float) -> Interval:
        """Give the interval of the value times a factor above zero."""
        return Interval(low=self.low * factor, high=self.high * factor)


def quantile(samples: Sequence[float], share: float) -> float:
    """Give the smallest sample that at least a share of all samples does not exceed; the middle for the median.

    Args:
        samples: at least one, in any order.
        share: in (0, 1).
    """
    if share == 0.5:
        return float(np.median(samples))
    return float(np.sort(samples)[max(math.ceil(share * len(samples)) - 1, 0)])


def quantile_interval(samples: Sequence[float], share: float, confidence: float) -> Interval:
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
    lower_rank = int(np.searchsorted(below, tail + _ROUNDING, side="right"))  # ranks count from one
    upper_rank = int(np.searchsorted(below, 1 - tail - _ROUNDING, side="left")) + 1
    low = float(ordered[lower_rank - 1]) if lower_rank >= 1 else -math.inf
    high = float(ordered[upper_rank - 1]) if upper_rank <= len(ordered) else math.inf
    return Interval(low=low, high=high)


def least_samples(share: float, confidence: float) -> int:
    """Say how many samples it takes to bound a quantile from both sides.

    All n samples lie below the quantile with probability share^n, and above it with (1 - share)^n; neither may exceed
    half of the error.

    Args:
        share: which quantile, in (0, 1).
        confidence: of the interval, in (0, 1).
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(share, 1 - share)) - _ROUNDING)


def _binomial_cumulative(count: int, share: float) -> NDArray[np.float64]:
    """Give P(X <= k) for k = 0..count."""
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count + 1)))))
    k = np.arange(count + 1)
    log_choose = log_factorial[count] - log_factorial[k] - log_factorial[count - k]
    return np.cumsum(np.exp(log_choose + k * math.log(share) + (count - k) * math.log1p(-share)))
