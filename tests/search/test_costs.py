"""The table's sum, and what measurements teach about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.search.costs import FACTOR_BOUNDS, LEARNING_RATE, corrected, fits, forecast
from deploycompress.search.space import Candidate, Dimension, Kernel, Removal, Space
from tests.search.toy import BLOCK_COST, make_space

SPACE = Space(
    removals=(Removal(block="b", layers=(0,), savings={"latency_ratio": 0.3, "macs_ratio": 0.2}),),
    dimensions=(
        Dimension(
            group="g",
            width=8,
            widths=(4, 8),
            savings=({"latency_ratio": 0.1}, {}),
        ),
        Dimension(group="unknown", width=8, widths=(4, 8)),
    ),
    kernels=(Kernel(layer="k", index=1, sizes=(1, 3), savings=({"latency_ratio": 0.05}, {})),),
    teacher={"latency_ratio": 1.0, "macs_ratio": 1.0},
)
ALL = SPACE.candidate(remove=["b"], widths={"g": 4, "unknown": 4}, kernels={"k": 1})


def test_savings_add_up_and_what_is_not_in_the_table_saves_nothing() -> None:
    assert forecast(SPACE, ALL) == pytest.approx({"latency_ratio": 0.55, "macs_ratio": 0.8})
    assert forecast(SPACE, Candidate()) == {"latency_ratio": 1.0, "macs_ratio": 1.0}


def test_a_correction_scales_what_is_saved() -> None:
    assert forecast(SPACE, ALL, {"latency_ratio": 0.5})["latency_ratio"] == pytest.approx(1 - 0.5 * 0.45)


def test_rows_that_the_table_does_not_know_say_nothing() -> None:
    rows = [parse_constraint("latency_ratio <= 0.6"), parse_constraint("accuracy >= 0.9")]
    assert fits(SPACE, ALL, rows)
    assert not fits(SPACE, Candidate(), rows)
    assert fits(SPACE, Candidate(), rows[1:])


def test_the_first_measurement_sets_the_factor_and_later_ones_move_it() -> None:
    first = corrected({}, SPACE, ALL, {"latency_ratio": 1 - 0.45 * 0.8})
    assert first == pytest.approx({"latency_ratio": 0.8})
    second = corrected(first, SPACE, ALL, {"latency_ratio": 1 - 0.45 * 0.6})
    assert second == pytest.approx({"latency_ratio": 0.8 + LEARNING_RATE * (0.6 - 0.8)})


@given(st.floats(0.3, 3.0))
def test_with_a_table_off_by_a_factor_the_forecast_becomes_the_measurement(factor: float) -> None:
    correction = corrected({}, SPACE, ALL, {"latency_ratio": 1 - 0.45 * factor})
    assert forecast(SPACE, ALL, correction)["latency_ratio"] == pytest.approx(1 - 0.45 * factor)


@given(st.floats(-100, 100))
def test_the_factor_stays_within_its_bounds(measured: float) -> None:
    low, high = FACTOR_BOUNDS
    assert low <= corrected({}, SPACE, ALL, {"latency_ratio": measured})["latency_ratio"] <= high


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_teaches_nothing(value: float) -> None:
    assert corrected({"latency_ratio": 0.9}, SPACE, ALL, {"latency_ratio": value}) == {"latency_ratio": 0.9}


def test_too_small_a_saving_teaches_nothing() -> None:
    small = make_space().candidate(widths={"g0": 48})
    tiny = Space(
        dimensions=(Dimension(group="g0", width=64, widths=(48, 64), savings=({"latency_ratio": 0.01}, {})),),
        teacher={"latency_ratio": 1.0},
    )
    assert corrected({}, tiny, small, {"latency_ratio": 0.5}) == {}
    assert corrected({}, SPACE, Candidate(), {"latency_ratio": 0.9}) == {}


def test_the_toys_table_is_right_for_blocks() -> None:
    space = make_space()
    candidate = space.candidate(remove=["b0", "b3"])
    assert forecast(space, candidate)["latency_ratio"] == pytest.approx(1 - 2 * BLOCK_COST)
