"""The probe tries small students, and says which limit is out of reach and by how much."""

from __future__ import annotations

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.errors import ConstraintError
from deploycompress.evaluation import Evaluation
from deploycompress.search.feasible import check_limits, small_candidates
from deploycompress.search.space import Candidate, Kernel, Space
from tests.search.toy import IMPORTANCE, TEACHER_ACCURACY, Toy, latency_of, make_space


def test_nothing_must_go_where_the_teacher_is_good_enough() -> None:
    toy = Toy()
    assert not check_limits(toy.space, [parse_constraint("latency_ratio <= 1")], toy.measure)
    assert toy.measured == [Candidate()]


def test_rows_on_the_accuracy_decide_nothing_yet() -> None:
    toy = Toy()
    rows = [parse_constraint("accuracy >= 0.99"), parse_constraint("latency_ratio <= 1")]
    assert not check_limits(toy.space, rows, toy.measure)


def test_widths_are_tried_before_blocks() -> None:
    toy = Toy()
    assert check_limits(toy.space, [parse_constraint("latency_ratio <= 0.45")], toy.measure)
    assert all(not candidate.remove for candidate in toy.measured)
    assert latency_of(toy.measured[-1]) <= 0.45


def test_blocks_that_cannot_all_go_are_left_out_one_by_one() -> None:
    toy = Toy()  # refuses to lose all six
    one_left = make_space().candidate(remove=["b1", "b2", "b3", "b4", "b5"], widths={"g0": 16})
    limit = latency_of(one_left) + 1e-6
    assert check_limits(toy.space, [parse_constraint(f"latency_ratio <= {limit}")], toy.measure)
    assert len(toy.measured[-1].remove) == len(IMPORTANCE) - 1


def test_an_unreachable_row_is_named_with_how_close_the_best_came() -> None:
    rows = [parse_constraint("params <= 900"), parse_constraint("latency_ratio <= 0.15")]
    with pytest.raises(ConstraintError, match=r"'latency_ratio <= 0.15'.*has 0\.2055, the limit is 0\.15") as caught:
        check_limits(make_space(), rows, Toy().measure)
    assert "params" not in str(caught.value)


def test_rows_that_are_in_reach_only_one_by_one_are_said_to_be() -> None:
    space = make_space(2)

    def opposed(candidate: Candidate) -> Evaluation:
        share = len(candidate.remove) / 2
        return Evaluation(metrics={"latency_ms": 2 - share, "macs": 1 + share}, teacher_accuracy=TEACHER_ACCURACY)

    rows = [parse_constraint("latency_ms <= 1.1"), parse_constraint("macs <= 1.2")]
    with pytest.raises(ConstraintError, match=r"together with the others: .* the limit is 1\."):
        check_limits(space, rows, opposed)


def test_where_no_student_works_that_is_said() -> None:
    def failing(candidate: Candidate) -> Evaluation:
        return Evaluation(metrics={}, teacher_accuracy=TEACHER_ACCURACY, failure="the session does not load")

    with pytest.raises(ConstraintError, match=r"'latency_ratio <= 0\.5' cannot be checked"):
        check_limits(make_space(), [parse_constraint("latency_ratio <= 0.5")], failing)


def test_small_candidates_are_few_different_and_reach_every_part() -> None:
    whole = make_space()
    space = Space(
        layers=whole.layers,
        removals=whole.removals,
        dimensions=whole.dimensions,
        kernels=(Kernel(layer="stem", index=0, sizes=(1, 3)),),
    )
    candidates = small_candidates(space)
    assert len(set(candidates)) == len(candidates) <= 20
    assert candidates[:2] == (
        space.candidate(widths={f"g{block}": 16 for block in range(6)}),
        space.candidate(kernels={"stem": 1}),
    )
    assert any(len(one.remove) == 6 and one.kernels for one in candidates)
    assert small_candidates(Space()) == ()
