"""A search is laid out over the evaluations there are, and is the paper's where there are enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.search.rl_pruner import RlPrunerSettings
from deploycompress.search.rl_pruner.axes import axes_of
from deploycompress.search.rl_pruner.planning import planned
from tests.search.toy import make_space

SPACE = make_space()
AXES = axes_of(SPACE, removes_blocks=True)
ROWS = (parse_constraint("latency_ratio <= 0.58"),)
PAPER = RlPrunerSettings()


def plan(evaluations: int, settings: RlPrunerSettings = PAPER, *, foresees: bool = True) -> RlPrunerSettings:
    return planned(settings, SPACE, AXES, ROWS if foresees else (), evaluations)


def test_with_the_papers_evaluations_only_the_sparsity_is_the_limits() -> None:
    laid_out = plan(10**4)
    assert replace(laid_out, step_sparsity=PAPER.step_sparsity) == PAPER
    assert laid_out.steps * laid_out.step_sparsity == pytest.approx(0.5, abs=16 / 384)
    assert plan(10**4, foresees=False) == PAPER


def test_a_hundred_evaluations_are_one_step_of_many_small_stages() -> None:
    laid_out = plan(100)
    assert (laid_out.steps, laid_out.stages, laid_out.samples) == (1, 33, 3)
    assert laid_out.cuts_best
    assert (laid_out.step_size, laid_out.clip_ratio) == (PAPER.step_size, PAPER.clip_ratio)


@given(st.integers(2, 7000), st.integers(1, 3), st.booleans())
def test_a_plan_fits_and_keeps_the_sparsity(evaluations: int, depth: int, foresees: bool) -> None:
    chosen = replace(PAPER, sample_steps=depth)
    laid_out = plan(evaluations, chosen, foresees=foresees)
    assert laid_out.evaluations <= evaluations
    total = laid_out.steps * laid_out.step_sparsity
    assert total == pytest.approx(0.5, abs=16 / 384) if foresees else total == pytest.approx(0.75)


@given(st.integers(60, 7000))
def test_a_foreseen_plan_leaves_little_over(evaluations: int) -> None:
    assert plan(evaluations).evaluations > 0.9 * evaluations


def test_settings_that_do_not_adapt_are_used_as_they_are() -> None:
    chosen = replace(PAPER, adapts=False, stages=7)
    assert plan(100, chosen, foresees=False) == chosen


def test_a_search_of_one_evaluation_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2 evaluations"):
        plan(1)
