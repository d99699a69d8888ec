"""Losses that grow with the square are learnt exactly, and the cheapest step is the one that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.search.baselines.sensitivity import LEAST_LOSS, cheapest, expected_loss, learnt_from_step
from deploycompress.search.moves import Kind, Move, applied, moves
from deploycompress.search.space import Candidate
from tests.search.toy import make_space

SPACE = make_space(3)
ROWS = (parse_constraint("latency_ratio <= 0.5"),)
KEYS = [f"{kind}:{name}{block}" for kind, name in (("remove", "b"), ("narrow", "g")) for block in range(3)]
sensitivities = st.fixed_dictionaries({key: st.floats(0, 1) for key in KEYS})


def loss_of(candidate: Candidate, truth: dict[str, float]) -> float:
    """Add up the losses in the plainest way."""
    total = sum(truth[f"remove:{name}"] for name in candidate.remove)
    return total + sum(truth[f"narrow:{name}"] * ((64 - width) / 64) ** 2 for name, width in candidate.widths.items())


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    candidate = Candidate()
    for _ in range(draw(st.integers(0, 6))):
        possible = moves(SPACE, candidate)
        candidate = applied(SPACE, candidate, draw(st.sampled_from(possible))) if possible else candidate
    return candidate


@given(candidates(), sensitivities)
def test_expected_losses_add_up(candidate: Candidate, truth: dict[str, float]) -> None:
    assert expected_loss(SPACE, candidate, truth) == pytest.approx(loss_of(candidate, truth))


@given(candidates(), sensitivities, st.data())
def test_a_step_teaches_what_explains_its_loss(
    candidate: Candidate, truth: dict[str, float], data: st.DataObject
) -> None:
    possible = moves(SPACE, candidate)
    if not possible:
        return
    move = data.draw(st.sampled_from(possible))
    loss = loss_of(applied(SPACE, candidate, move), truth) - loss_of(candidate, truth)
    key = f"{move.kind.value}:{move.name}"
    learnt = learnt_from_step(
        SPACE, candidate, move, loss, {**truth, key: 0.0 if move.kind is Kind.REMOVE else truth[key]}
    )
    assert learnt[key] == pytest.approx(truth[key], abs=1e-9)


def test_a_gain_is_taken_for_no_loss() -> None:
    move = Move(kind=Kind.REMOVE, name="b0")
    assert learnt_from_step(SPACE, Candidate(), move, -0.3, {}) == {"remove:b0": 0.0}


def test_what_was_never_tried_counts_as_the_usual() -> None:
    assert expected_loss(SPACE, SPACE.candidate(remove=["b2"]), {"remove:b0": 0.1, "remove:b1": 0.3}) == pytest.approx(
        0.2
    )
    assert expected_loss(SPACE, SPACE.candidate(remove=["b2"]), {}) == 1.0


@given(candidates(), sensitivities)
def test_the_cheapest_step_has_the_lowest_quotient(candidate: Candidate, truth: dict[str, float]) -> None:
    def saved(one: Candidate) -> float:
        return 0.14 * (len(one.remove) + sum(1 - width / 64 for width in one.widths.values()))

    def price(move: Move) -> float:
        after = applied(SPACE, candidate, move)
        gain = min(saved(after), 0.5) - min(saved(candidate), 0.5)
        loss = max(loss_of(after, truth) - loss_of(candidate, truth), LEAST_LOSS)
        return loss / gain if gain > 1e-9 else float("inf")

    possible = moves(SPACE, candidate)
    if possible:
        chosen = cheapest(SPACE, candidate, ROWS, truth, {})
        assert price(chosen) == pytest.approx(min(map(price, possible)))
