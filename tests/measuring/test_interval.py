"""Intervals against exact binomials summed in a plain loop, and against their promise of coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.measuring.interval import Interval, least_samples, quantile, quantile_interval

# Latencies of a small network on a shared machine, microseconds; skewed, with outliers, as latencies are.
RECORDED = [
    412, 409, 415, 411, 408, 1290, 413, 410, 409, 417, 428, 411, 410, 409, 412, 436, 411, 408, 407, 415, 413, 412, 610,
    411, 409, 410, 414, 418, 411, 409, 408, 413, 416, 422, 410, 409, 411, 407, 412, 413, 455, 410, 409, 411, 408, 412,
    415, 410, 409, 413, 740, 411, 410, 408, 412, 414, 409, 411, 410, 413, 419, 412, 408, 410,
]  # fmt: skip


def chance_below(count: int, rank: int, share: Fraction) -> Fraction:
    """P(fewer than `rank` of `count` samples lie below the quantile), exactly."""
    return sum((math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(rank)), Fraction(0))


def slow_interval(samples: Sequence[float], share: Fraction, confidence: Fraction) -> tuple[float, float]:
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


@given(
    samples=st.lists(st.integers(1, 10**9) | st.floats(1e-3, 1e9), min_size=1, max_size=90),
    share=st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(19, 20), Fraction(99, 100)]),
    confidence=st.sampled_from([Fraction(8, 10), Fraction(9, 10), Fraction(95, 100), Fraction(99, 100)]),
)
def test_any_samples_are_bounded_as_the_exact_binomial_says(
    samples: list[float], share: Fraction, confidence: Fraction
) -> None:
    found = quantile_interval(samples, float(share), float(confidence))
    assert (found.low, found.high) == slow_interval(samples, share, confidence)


@pytest.mark.parametrize("share", [Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)])
@pytest.mark.parametrize("confidence", [Fraction(9, 10), Fraction(95, 100), Fraction(99, 100)])
def test_the_least_samples_are_the_first_that_bound_both_sides(share: Fraction, confidence: Fraction) -> None:
    count = least_samples(float(share), float(confidence))
    tail = (1 - confidence) / 2
    assert share**count <= tail < share ** (count - 1)
    bounds = [quantile_interval(range(size), float(share), float(confidence)) for size in (count - 1, count)]
    assert [math.isfinite(bound.low) and math.isfinite(bound.high) for bound in bounds] == [False, True]


@pytest.mark.parametrize("count", [6, 7, 8, 10, 30])
def test_few_values_cover_the_true_median_at_least_as_often_as_promised(count: int) -> None:
    generator = np.random.default_rng(11)
    draws = np.exp(generator.standard_t(3, size=(4000, count)) / 50)  # skewed, with outliers; the median is 1
    bounds = [quantile_interval(row, 0.5, 0.95) for row in draws.tolist()]
    assert sum(bound.low <= 1 <= bound.high for bound in bounds) / 4000 >= 0.94


def test_an_interval_can_be_scaled_and_joined() -> None:
    one, other = Interval(low=1.0, high=2.0), Interval(low=1.5, high=3.0)
    assert one.scaled(0.5) == Interval(low=0.5, high=1.0)
    assert one.hull(other) == Interval(low=1.0, high=3.0)


def test_an_interval_is_ordered() -> None:
    with pytest.raises(ValueError, match="low <= high"):
        Interval(low=2.0, high=1.0)
