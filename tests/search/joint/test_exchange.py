"""Exchanges against the best of all candidates of a small space."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from deploycompress.constraint import parse_constraint
from deploycompress.search.joint.choices import number
from deploycompress.search.joint.exchange import exchanged
from deploycompress.search.joint.policy import Task, rolled_out
from deploycompress.search.moves import undone
from deploycompress.search.space import Candidate
from tests.search.toy import WIDTHS, make_space

BLOCKS = 3


def task(limit: float) -> Task:
    rows = (parse_constraint(f"latency_ratio <= {limit}"),)
    return Task(choices=number(make_space(BLOCKS)), rows=rows, correction={})


def brought(one: Task, start: Candidate, losses: NDArray[np.float64], rounds: int) -> Candidate:
    return exchanged(one, start, losses, rounds)


def best_loss(one: Task, losses: NDArray[np.float64]) -> float:
    space = one.choices.space
    candidates = (
        space.candidate(
            remove=[f"b{index}" for index in range(BLOCKS) if gone[index]],
            widths={f"g{index}": widths[index] for index in range(BLOCKS)},
        )
        for gone in product((False, True), repeat=BLOCKS)
        for widths in product(WIDTHS, repeat=BLOCKS)
    )
    return min(float(losses @ one.choices.gone(candidate)) for candidate in candidates if one.fits(candidate))


def test_exchanges_never_harm_and_end_near_the_best_there_is() -> None:
    one, shares = task(0.8), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        losses = rng.uniform(0.1, 1.0, 2 * BLOCKS)
        start, _, _ = rolled_out(one, np.zeros(2 * BLOCKS), rng, 1.0)
        ways = (start, *(brought(one, start, losses, rounds) for rounds in (0, 1, 10)))
        found = [float(losses @ one.choices.gone(way)) for way in ways]
        assert found == sorted(found, reverse=True)
        shares.append(np.array(found) / best_loss(one, losses))
        assert shares[-1][-1] >= 1 - 1e-9
    before, *_, after = np.mean(shares, axis=0)
    assert after - 1 < (before - 1) / 2


def test_what_comes_out_meets_the_limit_and_nothing_can_return() -> None:
    one, rng = task(0.75), np.random.default_rng(0)
    for _ in range(5):
        start, _, _ = rolled_out(one, rng.standard_normal(2 * BLOCKS), rng, 1.0)
        found = brought(one, start, rng.uniform(0.1, 1.0, 2 * BLOCKS), 3)
        assert one.fits(found)
        assert not any(one.fits(larger) for larger in undone(one.choices.space, found))


def test_a_limit_that_nothing_meets_takes_everything() -> None:
    one = task(0.01)
    found = brought(one, Candidate(), np.ones(2 * BLOCKS), 2)
    assert found.remove == ("b0", "b1", "b2")


def test_without_a_limit_nothing_goes() -> None:
    one = Task(choices=number(make_space(BLOCKS)), rows=(), correction={})
    assert brought(one, one.choices.space.candidate(remove=["b1"]), np.ones(2 * BLOCKS), 2).is_empty
