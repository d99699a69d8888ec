"""The probe finds the staircase's edge, and says which limit is out of reach and by how much."""

from __future__ import annotations

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.errors import ConstraintError
from deploycompress.plan import Plan
from deploycompress.search.feasible import needed_sparsity, uniform_plan
from deploycompress.search.space import Dimension, Space

SPACE = Space((Dimension("a", 8, tuple(range(1, 9))), Dimension("b", 4, (2, 4)), Dimension("c", 4, (4,))))
SCORES = {"a": tuple(float(i) for i in range(8)), "b": (3.0, 2.0, 1.0, 0.0), "c": (1.0,) * 4}


def kept_share(plan: Plan) -> dict[str, float]:
    widths = {"a": 8, "b": 4, "c": 4, **plan.widths()}
    return {"params_ratio": sum(widths.values()) / 16}


def test_uniform_plan_keeps_the_best_channels_and_spares_what_has_no_choice() -> None:
    plan = uniform_plan(SPACE, SCORES, 0.5)
    assert plan.keep == {"a": (4, 5, 6, 7), "b": (0, 1)}
    assert uniform_plan(SPACE, SCORES, 0.0).is_empty
    assert uniform_plan(SPACE, SCORES, 1.0).widths() == {"a": 1, "b": 2}


def test_needed_sparsity_is_enough_and_hardly_more() -> None:
    rows = [parse_constraint("params_ratio <= 0.75")]
    sparsity = needed_sparsity(SPACE, SCORES, rows, kept_share)
    assert kept_share(uniform_plan(SPACE, SCORES, sparsity))["params_ratio"] <= 0.75
    assert kept_share(uniform_plan(SPACE, SCORES, sparsity - 1 / 32))["params_ratio"] > 0.75


def test_nothing_is_needed_where_the_teacher_is_good_enough() -> None:
    assert needed_sparsity(SPACE, SCORES, [parse_constraint("params_ratio <= 1")], kept_share) == 0.0


def test_accuracy_rows_decide_nothing_yet() -> None:
    assert needed_sparsity(SPACE, SCORES, [parse_constraint("accuracy >= 0.9")], kept_share) == 0.0


def test_unreachable_row_is_named_with_the_smallest_students_value() -> None:
    rows = [parse_constraint("params_ratio <= 0.9"), parse_constraint("params_ratio <= 0.1")]
    with pytest.raises(ConstraintError, match=r"'params_ratio <= 0.1'.*0\.4375.*0\.1"):
        needed_sparsity(SPACE, SCORES, rows, kept_share)


def test_only_the_limits_as_asked_for_can_be_out_of_reach() -> None:
    asked = parse_constraint("params_ratio <= 0.44")  # the smallest student has 0.4375
    strict = asked.tightened(0.03)
    assert needed_sparsity(SPACE, SCORES, [strict], kept_share, limits=[asked]) == 1.0
    with pytest.raises(ConstraintError, match=r"limit is 0\.4268"):
        needed_sparsity(SPACE, SCORES, [strict], kept_share)
