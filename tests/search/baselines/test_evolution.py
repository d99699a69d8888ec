"""The oldest dies, the fit have children, and on the whole that beats drawing."""

from __future__ import annotations

from statistics import mean

import pytest

from deploycompress.errors import UsageError
from deploycompress.search.baselines import evolution, random
from deploycompress.search.baselines.evolution import Settings
from tests.search.baselines.searching import accuracy_found, searched


def test_the_first_are_drawn_as_random_draws_them() -> None:
    first = [entry.proposal.candidate for entry in searched(random, random.Settings(), seed=5).trace[:12]]
    assert [entry.proposal.candidate for entry in searched(evolution, Settings(), seed=5).trace[:12]] == first


def test_the_living_are_the_youngest() -> None:
    states: list[evolution.State] = []
    trace = searched(evolution, Settings(), states=states).trace
    assert states[0].size == 12
    for told, state in enumerate(states, start=1):
        assert [one.candidate for one in state.population] == [
            entry.proposal.candidate for entry in trace[max(told - 12, 0) : told]
        ]
        assert [one.fitness for one in state.population] == [entry.reward for entry in trace[max(told - 12, 0) : told]]


def test_later_generations_are_fitter_than_the_first() -> None:
    rewards = [
        [entry.reward for entry in searched(evolution, Settings(), seed=seed, limit=0.5).trace] for seed in range(4)
    ]
    assert mean(mean(one[-24:]) for one in rewards) > mean(mean(one[:12]) for one in rewards) + 0.05


def test_on_the_whole_it_finds_more_than_random_search() -> None:
    evolved, drawn = (
        mean(
            accuracy_found(searched(engine, settings, seed=seed, limit=limit))
            for seed in range(4)
            for limit in (0.5, 0.6)
        )
        for engine, settings in ((evolution, Settings()), (random, random.Settings()))
    )
    assert evolved > drawn


@pytest.mark.parametrize("name", ["least_population", "tournament", "most_changes"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name!r} is 0"):
        Settings(**{name: 0})


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="population_share"):
        Settings(population_share=share)
