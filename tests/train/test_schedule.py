from __future__ import annotations

import itertools
import math

import pytest

from deploycompress.train.pace import Costs, corrected_end, make_time_limit, plan_pace
from deploycompress.train.schedule import END_DIVISOR, START_DIVISOR, OneCycle, peak_for


def test_one_cycle_goes_up_to_the_peak_and_down_to_almost_nothing() -> None:
    cycle = OneCycle(peak=0.1, warm_up=0.2, end_step=100)
    rates = [cycle.rate(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1 / START_DIVISOR)
    assert rates[20] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.1 / END_DIVISOR)
    assert all(a < b for a, b in itertools.pairwise(rates[:21]))
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))


def test_a_correction_ends_the_cycle_elsewhere_without_a_jump() -> None:
    cycle = OneCycle(peak=0.1, warm_up=0.2, end_step=100)
    shorter = cycle.corrected(50, 60).corrected(55, 70)
    assert cycle.corrected(50, 60).rate(50) == pytest.approx(cycle.rate(50))
    assert shorter.rate(70) == pytest.approx(0.1 / END_DIVISOR)


def test_without_warm_up_the_peak_comes_first() -> None:
    assert OneCycle(peak=0.1, warm_up=0.0, end_step=10).rate(0) == pytest.approx(0.1)


def test_steps_and_checks_fit_the_time() -> None:
    pace = plan_pace(Costs(step_s=0.1, check_s=2.0), left_s=100.0, most_steps=math.inf, checks=10)
    checks = math.ceil(pace.end_step / pace.check_every)
    assert 90 <= pace.end_step * 0.1 + checks * 2.0 <= 100
    assert checks <= 10


def test_dear_checks_are_taken_less_often() -> None:
    pace = plan_pace(Costs(step_s=0.1, check_s=4.0), left_s=60.0, most_steps=math.inf, checks=10)
    assert math.ceil(pace.end_step / pace.check_every) <= 3


def test_a_limit_of_steps_holds_and_one_step_is_the_least() -> None:
    costs = Costs(step_s=0.1, check_s=1.0)
    assert plan_pace(costs, left_s=100.0, most_steps=7, checks=3).end_step == 7
    assert plan_pace(costs, left_s=-5.0, most_steps=7, checks=3).end_step == 1
    assert plan_pace(Costs(step_s=0.0, check_s=0.0), left_s=math.inf, most_steps=30, checks=3).check_every == 10


def test_a_slower_machine_shortens_the_run_and_noise_does_not() -> None:
    costs = Costs(step_s=0.1, check_s=1.0)
    pace = plan_pace(costs, left_s=100.0, most_steps=math.inf, checks=10)
    left_s = 100.0 - 100 * 0.1 - 1.0
    assert corrected_end(pace, costs, step=100, left_s=left_s, most_steps=math.inf) == pace.end_step
    slow = corrected_end(pace, Costs(step_s=0.4, check_s=4.0), step=100, left_s=left_s, most_steps=math.inf)
    assert 100 < slow < pace.end_step / 2


def test_the_nearer_of_two_limits_counts() -> None:
    assert make_time_limit(None, None).left() == math.inf
    assert make_time_limit(None, lambda: 5.0).left() == 5.0
    assert make_time_limit(1000.0, lambda: None).left() <= 1000.0
    assert make_time_limit(1e9, lambda: 5.0).left() == 5.0


def test_longer_runs_get_higher_rates_within_bounds() -> None:
    rates = [peak_for(images) for images in (10, 1e4, 1e5, 5e5, 2e6, 1e9)]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (0.004, 0.05)
    assert peak_for(4e5) == pytest.approx(2 * peak_for(1e5))


def test_a_run_is_longer_by_what_the_teacher_need_not_be_asked_again() -> None:
    costs = Costs(step_s=0.1, check_s=0.0, ask_s=0.05)
    pace = plan_pace(costs, left_s=100.0, most_steps=math.inf, checks=10, asked_steps=200)
    assert pace.end_step == int((97.0 - 200 * 0.05) / 0.1)
    all_asked = plan_pace(costs, left_s=10.0, most_steps=math.inf, checks=10, asked_steps=200)
    assert all_asked.end_step == int(9.7 / 0.15)
    # on the way: half of the asking is behind, and the machine has become twice as slow
    slow = corrected_end(pace, costs.at_speed(2.0), step=100, left_s=85.0, most_steps=math.inf)
    assert slow == 100 + int((85 * 0.97 - 100 * 0.1) / 0.2)
