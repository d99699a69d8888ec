"""Intervals against exact binomials summed in a plain loop, and against their promise of coverage."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from deploycompress.measuring.interval import Interval, quantile, quantile_interval, ratio_interval

# Latencies of a small network on a shared machine, microseconds; skewed, with outliers, as latencies are.
RECORDED = [
    412, 409, 415, 411, 408, 1290, 413, 410, 409, 417, 428, 411, 410, 409, 412, 436, 411, 408, 407, 415, 413, 412, 610,
    411, 409, 410, 414, 418, 411, 409, 408, 413, 416, 422, 410, 409, 411, 407, 412, 413, 455, 410, 409, 411, 408, 412,
    415, 410, 409, 413, 740, 411, 410, 408, 412, 414, 409, 411, 410, 413, 419, 412, 408, 410,
]  # fmt: skip


def chance_below(count: int, rank: int, share: Fraction) -> Fraction:
    """P(fewer than `rank` of `count` samples lie below the quantile), exactly."""
    return sum((math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(rank)), Fraction(0))


def slow_interval(samples: list[int], share: Fraction, confidence: Fraction) -> tuple[float, float]:
    ordered, count, tail = sorted(samples), len(samples), (1 - confidence) / 2
    low, high = -math.inf, math.inf
    for rank in range(1, count + 1):
        if chance_below(count, rank, share) <= tail:
            low = ordered[rank - 1]
    for rank in range(count, 0, -1):
        if chance_below(count, rank, share) >= 1 - tail:
            high = ordered[rank - 1]
    return low, high


@pytest.mark.parametrize("count", [5, 20, 46, 64])
@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)])
@pytest.mark.parametrize("confidence", [Fraction(9, 10), Fraction(95, 100), Fraction(99, 100)])
def test_order_statistics_are_those_of_the_exact_binomial(count: int, share: Fraction, confidence: Fraction) -> None:
    samples = RECORDED[:count]
    found = quantile_interval(samples, float(share), float(confidence))
    assert (found.low, found.high) == slow_interval(samples, share, confidence)


def test_too_few_samples_leave_the_percentile_unbounded() -> None:
    assert quantile_interval(RECORDED, 0.99, 0.95).high == math.inf


def test_the_interval_covers_the_true_median_as_often_as_promised() -> None:
    generator = np.random.default_rng(7)
    true_median = math.log(2) * 1e6
    draws = generator.exponential(1e6, size=(500, 64)).astype(np.int64).tolist()
    bounds = [quantile_interval(row, 0.5, 0.95) for row in draws]
    assert sum(bound.low <= true_median <= bound.high for bound in bounds) / 500 >= 0.94


def test_more_samples_narrow_the_interval() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for count in (64, 640, 6400):
        bound = quantile_interval(generator.lognormal(10, 1, count).astype(np.int64).tolist(), 0.9, 0.95)
        widths.append(bound.high - bound.low)
    assert all(later < earlier for earlier, later in pairwise(widths))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantile_is_the_smallest_sample_with_its_share(share: float) -> None:
    samples = RECORDED[:-1]  # an odd number: the median is a sample
    expected = next(v for v in sorted(samples) if sum(s <= v for s in samples) >= share * len(samples))
    assert quantile(samples, share) == expected


def test_ratio_interval_covers_the_true_ratio_under_common_drift() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        drift = generator.lognormal(0, 0.2, size=(24, 1))
        fast = (500_000 * drift * generator.lognormal(0, 0.02, size=(24, 4))).astype(np.int64)
        slow = (800_000 * drift * generator.lognormal(0, 0.02, size=(24, 4))).astype(np.int64)
        bound = ratio_interval(fast.tolist(), slow.tolist(), 0.95, generator, resamples=200)
        covered += bound.low <= 500 / 800 <= bound.high
    assert covered / 60 >= 0.85


def test_the_same_generator_state_gives_the_same_bounds() -> None:
    rounds = [RECORDED[start : start + 8] for start in range(0, 64, 8)]
    first, second = (ratio_interval(rounds, rounds[::-1], 0.95, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_unpaired_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 rounds"):
        ratio_interval([[1], [2]], [[1]], 0.95, np.random.default_rng(0))


def test_an_interval_is_ordered() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Interval(low=2.0, high=1.0)
