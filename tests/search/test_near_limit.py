"""Draws at the limit where it is foreseen, and anywhere where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.search.costs import fits
from deploycompress.search.journal import Journal, digest
from deploycompress.search.moves import undone
from deploycompress.search.near_limit import brought, drawn, drawn_anew, is_guided
from deploycompress.search.reward import RewardSettings
from tests.search.baselines.searching import limited
from tests.search.toy import make_space

SPACE = make_space()
JOURNAL = Journal(space=SPACE, reward_settings=limited(0.5), evaluations=60, seed=0)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("latency_ratio <= 0.5", True),
        ("latency_ratio <= 0.17", True),
        ("latency_ratio <= 0.01", False),
        ("latency_ratio <= 1", False),
        ("params_ratio <= 0.5", False),
        ("latency_ms <= 0.5", False),
    ],
)
def test_a_limit_guides_where_the_table_foresees_that_it_is_broken_and_can_be_met(limit: str, expected: bool) -> None:
    assert is_guided(SPACE, [parse_constraint(limit)], {}) == expected


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_and_what_is_brought_fits_and_cannot_grow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for candidate in (drawn(JOURNAL, rng), brought(JOURNAL, SPACE.candidate(remove=["b3"]), rng)):
        assert fits(SPACE, candidate, JOURNAL.rows)
        assert not any(fits(SPACE, larger, JOURNAL.rows) for larger in undone(SPACE, candidate))


def test_without_guidance_nothing_is_brought_anywhere() -> None:
    free = replace(JOURNAL, reward_settings=RewardSettings())
    candidate = SPACE.candidate(remove=["b3"])
    assert brought(free, candidate, np.random.default_rng(0)) == candidate


def test_what_was_seen_is_drawn_again_only_when_there_is_nothing_else() -> None:
    small = make_space(1)
    journal = Journal(space=small, reward_settings=RewardSettings(), evaluations=60, seed=0)
    found = set()
    for draws in range(40):
        journal = replace(journal, draws=draws)
        candidate = drawn_anew(journal, lambda rng: drawn(journal, rng))  # noqa: B023 - called at once
        found.add(candidate)
        journal = replace(journal, seen=tuple(map(digest, found)))
    assert found == {
        small.candidate(remove=["b0"]),
        *(small.candidate(widths={"g0": width}) for width in (16, 32, 48)),
    }
