"""What each process is asked, and how the answers of several become one."""

from __future__ import annotations

from typing import Any

import pytest

from deploycompress.measuring.starts import Sampling, put_together
from deploycompress.profile_files import load_profile

LIMITS = load_profile("x86").measure


def sampling(**changes: Any) -> Sampling:  # Any: fields of the record
    return Sampling(**{"limits": LIMITS, "models": 2, "starts": 1, **changes})


def test_time_and_samples_are_shared_among_processes() -> None:
    one = sampling(max_seconds=8.0, min_samples=100).request()
    many = sampling(max_seconds=8.0, min_samples=100, starts=8).request()
    assert (one["enough_seconds"], one["min_samples"]) == (8.0, 100)
    assert (many["enough_seconds"], many["min_samples"]) == (1.0, 13)
    assert many["max_seconds"] == LIMITS.max_seconds / 8
    assert many["precision"] == pytest.approx(LIMITS.precision * 8**0.5)


@pytest.mark.parametrize(("models", "factor"), [(1, 1), (2, 1), (4, 2), (6, 3)])
def test_the_profiles_limit_is_that_of_a_pair(models: int, factor: int) -> None:
    assert sampling(models=models).request()["max_seconds"] == factor * LIMITS.max_seconds


def test_a_wish_beyond_the_profiles_limit_is_the_limit_of_this_measurement() -> None:
    wish = 5 * LIMITS.max_seconds
    one, many = (sampling(max_seconds=wish, starts=starts) for starts in (1, 4))
    assert (one.request()["enough_seconds"], one.request()["max_seconds"], one.most_seconds) == (wish, wish, wish)
    assert many.request()["max_seconds"] == many.most_seconds == wish / 4
    assert sampling(max_seconds=1e12).most_seconds == 86400


def test_a_wish_below_the_profiles_limit_leaves_the_limit() -> None:
    hurried = sampling(max_seconds=0.0)
    assert (hurried.request()["enough_seconds"], hurried.most_seconds) == (0.0, LIMITS.max_seconds)


def test_only_fresh_processes_load_their_models_several_times() -> None:
    assert sampling().request()["sessions"] == 1
    assert sampling(starts=2).request()["sessions"] > 1


@pytest.mark.parametrize(("starts", "rounds"), [(1, 8), (5, 8), (6, 4), (20, 4)])
def test_rounds_are_enough_to_bound_the_ratio_unless_processes_are(starts: int, rounds: int) -> None:
    assert sampling(starts=starts).request()["min_rounds"] == rounds


@pytest.mark.parametrize(("starts", "models", "most"), [(1, 2, 1), (5, 2, 5), (6, 2, 12), (7, 2, 14), (7, 1, 7)])
def test_more_processes_are_tried_where_that_can_bound_the_ratio(starts: int, models: int, most: int) -> None:
    assert sampling(starts=starts, models=models).most_starts == most


def test_more_confidence_needs_more_rounds() -> None:
    sure = LIMITS.model_copy(update={"confidence": 0.999})
    assert sampling(limits=sure).request()["min_rounds"] == 11  # 2 * 2**-11 is the first below 0.001


@pytest.mark.parametrize("models", [1, 2, 3, 5])
def test_every_model_is_loaded_first_and_last_as_often_as_any_other(models: int) -> None:
    orders = [sampling(models=models).order(start) for start in range(models)]
    assert sorted(order[0] for order in orders) == sorted(order[-1] for order in orders) == list(range(models))
    assert all(sorted(order) == list(range(models)) for order in orders)


def reply(rounds: list[list[list[int]]], first_runs: list[int], **changes: Any) -> dict[str, Any]:  # Any: JSON
    return {
        "rounds": rounds,
        "redone_rounds": 1,
        "settled": True,
        "states": [dict.fromkeys(("governor", "frequency_khz", "temperature_c", "throttled", "load_average"))] * 2,
        "models": [{"placement": {"P": run}, "load_seconds": run / 2, "first_run_ns": run} for run in first_runs],
        **changes,
    }


def test_answers_in_different_orders_come_to_the_right_models() -> None:
    found = put_together(
        [
            reply([[[10], [11]], [[20], [21]]], [1, 2]),
            reply([[[22]], [[12]]], [4, 3], settled=False),
            reply([[[13, 14]], [[23, 24]]], [5, 6]),
        ],
        [[0, 1], [1, 0], [0, 1]],
    )
    assert found.rounds == (((10,), (11,), (12,), (13, 14)), ((20,), (21,), (22,), (23, 24)))
    assert found.starts == (2, 1, 1)
    assert found.first_run_ns == (3, 4)
    assert found.load_seconds == (1.5, 2.0)
    assert [dict(placement) for placement in found.placement] == [{"P": 1}, {"P": 2}]
    assert (found.redone_rounds, found.settled, len(found.states)) == (3, False, 6)
