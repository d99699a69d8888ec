from __future__ import annotations

import itertools

import pytest

from deploycompress.pipeline.rounds import plan_rounds
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
