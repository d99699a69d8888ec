from __future__ import annotations

import itertools

import pytest

from deploycompress.pipeline.rounds import plan_rounds, share_of_time
from deploycompress.plan import Plan

PLAN = Plan(remove=tuple("abcdefg"), keep={"g": (0, 1)}, kernels={"k": 1})


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 20])
def test_each_round_removes_more_and_the_last_is_the_plan(rounds: int) -> None:
    found = plan_rounds(PLAN, rounds)
    assert len(found) == min(rounds, 7)
    assert found[-1].plan == PLAN
    assert sum(one.share for one in found) == pytest.approx(1.0)
    removed = [set(one.plan.remove) for one in found]
    assert all(earlier < later for earlier, later in itertools.pairwise(removed))
    assert not any(one.plan.keep or one.plan.kernels for one in found[:-1])


def test_a_plan_without_blocks_takes_one_round() -> None:
    plan = Plan(keep={"g": (0,)})
    assert [one.plan for one in plan_rounds(plan, 4)] == [plan]


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_rounds_leave_what_comes_after_them_its_share(rounds: int) -> None:
    parts, left_s = plan_rounds(PLAN, rounds), 100.0
    for number, part in enumerate(parts):
        rounds_left = sum(one.share for one in parts[number:])
        spent_s = left_s * share_of_time(part.share, rounds_left=rounds_left, later=0.1)
        assert spent_s == pytest.approx(90 * part.share)
        left_s -= spent_s
    assert left_s == pytest.approx(10.0)
