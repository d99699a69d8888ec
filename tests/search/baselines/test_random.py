"""Independent candidates at the limit, whatever they are worth."""

from __future__ import annotations

import pytest

from deploycompress.search.baselines import random
from deploycompress.search.baselines.random import Settings
from deploycompress.search.moves import undone
from deploycompress.search.space import Candidate
from tests.search.baselines.searching import limited, searched
from tests.search.toy import Toy, latency_of


@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_new_and_lie_at_the_limit(seed: int) -> None:
    trace = searched(random, Settings(), seed=seed).trace
    candidates = [entry.proposal.candidate for entry in trace]
    latencies = [latency_of(candidate) for candidate in candidates]
    assert len(set(candidates)) == len(candidates) == 60
    assert sum(latency <= 0.6 for latency in latencies) >= 40
    assert sum(latency > 0.5 for latency in latencies) >= 50


def test_a_candidate_uses_what_the_table_says_is_left() -> None:
    space = Toy().space
    state = random.init(space, limited(0.6), settings=Settings(), evaluations=60, seed=0)
    candidate = random.ask(state).candidate
    removed = sum(0.14 for _ in candidate.remove) + sum(0.14 * (1 - w / 64) for w in candidate.widths.values())
    assert 1 - removed <= 0.6
    for larger in undone(space, candidate):
        saved = 0.14 * (len(larger.remove) + sum(1 - width / 64 for width in larger.widths.values()))
        assert 1 - saved > 0.6


def test_rewards_change_nothing() -> None:
    state = random.init(Toy().space, limited(0.6), settings=Settings(), evaluations=60, seed=0)
    proposal = random.ask(state)
    evaluation = Toy().measure(proposal.candidate)
    assert random.tell(state, proposal, evaluation, 0.9) == random.tell(state, proposal, evaluation, -1.0)


def test_different_parts_are_taken() -> None:
    trace = searched(random, Settings()).trace
    touched = {name for entry in trace for name in (*entry.proposal.candidate.remove, *entry.proposal.candidate.widths)}
    assert touched == {f"{kind}{block}" for kind in "bg" for block in range(6)}


def test_without_a_limit_any_amount_goes() -> None:
    trace = searched(random, Settings(), limit=2.0).trace
    latencies = [latency_of(entry.proposal.candidate) for entry in trace]
    assert min(latencies) < 0.4
    assert max(latencies) > 0.8
    assert Candidate() not in [entry.proposal.candidate for entry in trace]
