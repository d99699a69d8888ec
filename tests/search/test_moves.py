"""Every step makes a candidate smaller by one choice, and every step back undoes one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.moves import Kind, Move, all_applied, applied, moves, smallest, undone
from deploycompress.search.space import Candidate, Kernel, Removal, Space
from tests.search.toy import make_space

PLAIN = make_space(3)
STAGE = Removal(block="stage", layers=(1, 2, 3, 4))
SPACE = replace(PLAIN, removals=(*PLAIN.removals, STAGE), kernels=(Kernel(layer="b2.2", index=6, sizes=(1, 3)),))


def level(space: Space, candidate: Candidate) -> dict[str, int]:
    """Count the steps from the teacher for every choice that is still there."""
    widths = {
        one.group: len(one.widths) - 1 - one.widths.index(candidate.widths.get(one.group, one.width))
        for one in space.free
    }
    sizes = {
        one.layer: len(one.sizes) - 1 - one.sizes.index(candidate.kernels.get(one.layer, one.sizes[-1]))
        for one in space.kernels
    }
    return {**dict.fromkeys(candidate.remove, 1), **widths, **sizes}


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    candidate = SPACE.candidate()
    for _ in range(draw(st.integers(0, 12))):
        possible = moves(SPACE, candidate)
        if possible:
            candidate = applied(SPACE, candidate, draw(st.sampled_from(possible)))
    return candidate


def test_the_steps_from_the_teacher_are_one_for_each_choice() -> None:
    assert moves(SPACE, Candidate()) == (
        *(Move(kind=Kind.REMOVE, name=name) for name in ("b0", "b1", "b2", "stage")),
        *(Move(kind=Kind.NARROW, name=name, size=48) for name in ("g0", "g1", "g2")),
        Move(kind=Kind.SHRINK, name="b2.2", size=1),
    )


@given(candidates())
def test_every_step_changes_its_own_choice_and_only_drops_others(candidate: Candidate) -> None:
    before = level(SPACE, candidate)
    for move in moves(SPACE, candidate):
        after = level(SPACE, applied(SPACE, candidate, move))
        changed = {name for name in before | after if before.get(name, 0) != after.get(name, 0)}
        assert after[move.name] == before.get(move.name, 0) + 1
        assert all(after.get(name, 0) == 0 for name in changed - {move.name})


@given(candidates())
def test_a_step_back_is_the_opposite_of_some_step(candidate: Candidate) -> None:
    for back in undone(SPACE, candidate):
        before, after = level(SPACE, back), level(SPACE, candidate)
        assert sum(after.values()) > sum(before.values())
        assert any(applied(SPACE, back, move) == candidate for move in moves(SPACE, back)) or set(back.remove) < set(
            candidate.remove
        )


@given(candidates())
def test_there_is_a_step_back_for_every_choice_made(candidate: Candidate) -> None:
    assert len(undone(SPACE, candidate)) == len(candidate.remove) + len(candidate.widths) + len(candidate.kernels)


def test_a_block_inside_one_that_went_is_no_step() -> None:
    names = [move.name for move in moves(SPACE, SPACE.candidate(remove=["stage"]))]
    assert names == ["b2", "g2", "b2.2"]


def test_narrowing_goes_to_the_smallest_width_and_no_further() -> None:
    candidate = Candidate()
    for size in (48, 32, 16):
        move = next(one for one in moves(SPACE, candidate) if one.name == "g1")
        assert move.size == size
        candidate = applied(SPACE, candidate, move)
    assert "g1" not in [move.name for move in moves(SPACE, candidate)]


def test_from_the_smallest_there_is_no_step() -> None:
    assert moves(SPACE, smallest(SPACE)) == ()
    assert moves(PLAIN, smallest(replace(PLAIN, removals=()))) == tuple(
        Move(kind=Kind.REMOVE, name=name) for name in ("b0", "b1", "b2")
    )


def test_several_steps_are_taken_one_after_the_other() -> None:
    steps = [Move(kind=Kind.NARROW, name="g2", size=32), Move(kind=Kind.REMOVE, name="b0")]
    assert all_applied(SPACE, Candidate(), steps) == SPACE.candidate(remove=["b0"], widths={"g2": 32})


def test_the_teacher_has_no_step_back() -> None:
    assert undone(SPACE, Candidate()) == ()
