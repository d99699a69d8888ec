"""Choices are numbered once, and a candidate is a vector over the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploycompress.search.joint.choices import Choices, number
from deploycompress.search.moves import moves
from deploycompress.search.space import Candidate, Kernel
from tests.search.toy import make_space


def with_kernels() -> Choices:
    space = make_space()
    return number(replace(space, kernels=(Kernel(layer="stem", index=0, sizes=(1, 3)),)))


def test_every_step_that_is_possible_has_a_number_of_its_own() -> None:
    choices = with_kernels()
    numbers = [choices.of(move) for move in moves(choices.space, Candidate())]
    assert sorted(numbers) == list(range(len(choices)))
    assert len(choices) == 6 + 6 + 1


def test_a_group_without_a_choice_of_width_has_no_number() -> None:
    space = make_space()
    fixed = replace(space.dimensions[0], widths=(64,), savings=({},))
    assert len(number(replace(space, dimensions=(fixed, *space.dimensions[1:])))) == 11


def test_what_goes_is_a_whole_block_or_the_square_of_a_share() -> None:
    choices = with_kernels()
    candidate = choices.space.candidate(remove=["b2"], widths={"g0": 16, "g4": 48}, kernels={"stem": 1})
    gone = choices.gone(candidate)
    assert gone.shape == (13,)
    assert gone[2] == 1
    assert gone[6] == pytest.approx(0.75**2)
    assert gone[10] == pytest.approx(0.25**2)
    assert gone[12] == pytest.approx((2 / 3) ** 2)
    assert (gone > 0).sum() == 4


def test_nothing_goes_from_the_teacher() -> None:
    assert not with_kernels().gone(Candidate()).any()
