"""Constraint rows: what is read, what is refused, and that unknown numbers never count as fulfilled."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import METRICS, make_constraint, parse_constraint
from deploycompress.errors import UsageError

FACTORS = st.floats(0.001, 1000).map(lambda value: float(f"{value:g}"))


def test_a_row_is_the_weighted_sum_of_its_metrics() -> None:
    row = parse_constraint("latency_ms + 0.05*peak_rss_mib <= 12")
    assert row.value({"latency_ms": 10.0, "peak_rss_mib": 20.0}) == pytest.approx(11.0)
    assert row.is_met({"latency_ms": 11.0, "peak_rss_mib": 20.0})
    assert not row.is_met({"latency_ms": 11.1, "peak_rss_mib": 20.0})
    assert row.metrics == {"latency_ms", "peak_rss_mib"}


def test_at_least_turns_the_row_around() -> None:
    row = parse_constraint("accuracy >= 0.9")
    assert row.is_met({"accuracy": 0.9})
    assert not row.is_met({"accuracy": 0.89})
    assert row.excess({"accuracy": 0.81}) == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["latency_ms - 2*macs_ratio<=1", " latency_ms-2 * macs_ratio <= 1e0 "])
def test_signs_and_spaces_are_understood(text: str) -> None:
    assert parse_constraint(text).value({"latency_ms": 5.0, "macs_ratio": 2.0}) == 1.0


@given(
    st.dictionaries(st.sampled_from(sorted(METRICS)), FACTORS, min_size=1, max_size=4),
    FACTORS,
    st.lists(st.floats(0, 100), min_size=4, max_size=4),
)
def test_a_table_of_factors_means_what_a_plain_sum_says(
    terms: dict[str, float], bound: float, values: list[float]
) -> None:
    row = make_constraint(terms, bound)
    metrics = dict(zip(terms, values, strict=False))
    total = 0.0
    for metric, factor in terms.items():
        total += factor * metrics[metric]
    assert row.value(metrics) == pytest.approx(total)
    assert row.bound == bound


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_nobody_knows_does_not_meet_a_limit(value: float) -> None:
    row = parse_constraint("latency_ms <= 8")
    assert not row.is_met({"latency_ms": value})
    assert row.excess({"latency_ms": value}) == math.inf


def test_a_metric_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(KeyError):
        parse_constraint("latency_ms <= 8").is_met({"macs": 1.0})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latency_ms", "not of the form"),
        ("latency_ms <= 8 <= 9", "not of the form"),
        ("latency_ms <= fast", "'fast' is not a number"),
        ("latency_ms <= inf", "must be finite"),
        ("latncy_ms <= 8", "did you mean 'latency_ms'"),
        ("speed <= 8", "known are latency_ms"),
        ("<= 8", "no metric"),
        ("2**latency_ms <= 8", "not a metric"),
        ("1.2.3*latency_ms <= 8", "not a number"),
    ],
)
def test_what_is_no_row_is_refused_with_its_text(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("*", r"\*")):
        parse_constraint(text)


def test_profile_rows_keep_signs_and_every_digit() -> None:
    row = make_constraint({"latency_ms": 1.0, "accuracy": -2.0}, 5.0)
    assert dict(row.terms) == {"latency_ms": 1.0, "accuracy": -2.0}
    exact = make_constraint({"params": 1.0, "latency_ms": 8.1234567}, 12345678.0)
    assert exact.bound == 12345678.0
    assert dict(exact.terms)["latency_ms"] == 8.1234567


def test_lower_limits_are_shown_as_written() -> None:
    row = parse_constraint("accuracy >= 0.9")
    assert (row.shown_bound, row.shown_value({"accuracy": 0.95})) == (0.9, 0.95)
    assert row.is_met({"accuracy": 0.95})
    assert not row.is_met({"accuracy": 0.85})


def test_infinite_factor_is_refused() -> None:
    with pytest.raises(UsageError, match="not finite"):
        parse_constraint("1e999*params <= 1")
