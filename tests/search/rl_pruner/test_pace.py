"""A step's amount is the smallest with which its share of the limit is foreseen to be met."""

from __future__ import annotations

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.search.rl_pruner.axes import axes_of
from deploycompress.search.rl_pruner.pace import foreseen_rows, needed_sparsity, relaxed, smallest_amount
from deploycompress.search.space import Removal, Space
from tests.search.toy import make_space


@pytest.mark.parametrize("edge", [0.3, 5.0, 17.2, 99.9])
def test_the_smallest_amount_is_found_to_half_a_channel(edge: float) -> None:
    amount = smallest_amount(lambda value: value >= edge, least=0, most=100)
    assert amount is not None
    assert edge <= amount <= edge + 0.5


def test_the_least_is_given_where_it_is_enough_and_nothing_where_the_most_is_not() -> None:
    assert smallest_amount(lambda _: True, least=3, most=10) == 3
    assert smallest_amount(lambda _: False, least=3, most=10) is None
    assert smallest_amount(lambda _: True, least=10, most=10) is None


def test_a_limit_is_relaxed_towards_the_teacher() -> None:
    row = parse_constraint("latency_ratio <= 0.6")
    assert [relaxed(row, make_space(), share).bound for share in (0, 0.25, 1, 2)] == pytest.approx([1, 0.9, 0.6, 0.6])
    met = parse_constraint("latency_ratio <= 1.5")
    assert relaxed(met, make_space(), 0).bound == 1.5


def test_only_rows_of_the_table_are_foreseen() -> None:
    rows = [parse_constraint("latency_ratio <= 0.6"), parse_constraint("peak_rss_mib <= 9")]
    assert foreseen_rows(make_space(), rows) == (rows[0],)
    silent = Space(removals=(Removal(block="b", layers=(0,)),), teacher={"latency_ratio": 1.0})
    assert foreseen_rows(silent, rows) == ()


def test_the_needed_sparsity_is_what_uniform_cutting_needs_by_the_table() -> None:
    space = make_space()
    axes = axes_of(space, removes_blocks=True)
    found = needed_sparsity(space, axes, [parse_constraint("latency_ratio <= 0.58")])
    assert found == pytest.approx(0.5, abs=16 / 384)  # half of every width saves 6 * 0.14 / 2 = 0.42
    assert needed_sparsity(space, axes, [parse_constraint("latency_ratio <= 1")]) == 0
    assert needed_sparsity(space, axes, [parse_constraint("latency_ratio <= 0.1")]) is None
    assert needed_sparsity(space, axes, [parse_constraint("accuracy >= 0.1")]) is None
