"""The learnt table: finds planted factors, and changes nothing that nobody measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deploycompress.search.costs import forecast
from deploycompress.search.joint.table import Measured, learnt, measured
from deploycompress.search.space import Candidate, Space
from tests.search.toy import IMPORTANCE, latency_of, make_space

TABLE = {"latency_ratio": 1.0}


def some(space: Space, count: int, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        space.candidate(
            remove=[one.block for one in space.removals if rng.random() < 0.4],
            widths={one.group: int(rng.choice(one.widths)) for one in space.free},
        )
        for _ in range(count)
    ]


def true_ratio(candidate: Candidate) -> float:
    """Blocks save what the toy's table says of them, the first three groups half of it, the others a fifth more."""
    ratio = 1 - 0.14 * len(candidate.remove)
    for group, width in candidate.widths.items():
        ratio -= 0.14 * (1 - width / 64) * (0.5 if int(group[1:]) < 3 else 1.2)
    return ratio


def test_planted_factors_are_found() -> None:
    space = make_space()
    found = learnt(
        space, [Measured(candidate=one, metrics={"latency_ratio": true_ratio(one)}) for one in some(space, 80)]
    )
    for block in range(len(IMPORTANCE)):
        assert found.removals[block].savings["latency_ratio"] == pytest.approx(0.14, rel=0.1)
        expected = 0.14 * 0.75 * (0.5 if block < 3 else 1.2)
        assert found.free[block].savings[0]["latency_ratio"] == pytest.approx(expected, rel=0.15)


def test_a_table_that_was_measured_on_a_busy_machine_is_put_right() -> None:
    space = make_space()
    wrong = replace(
        space,
        removals=tuple(
            replace(one, savings={"latency_ratio": (-0.1, 0.05, 0.3)[index % 3]})
            for index, one in enumerate(space.removals)
        ),
    )
    found = learnt(
        wrong, [Measured(candidate=one, metrics={"latency_ratio": true_ratio(one)}) for one in some(space, 60)]
    )
    for one in found.removals:
        assert one.savings["latency_ratio"] == pytest.approx(0.14, abs=0.02)


def test_noise_does_not_unsettle_a_table_that_is_right() -> None:
    space, rng = make_space(), np.random.default_rng(3)
    noisy = [
        Measured(candidate=one, metrics={"latency_ratio": latency_of(one) + 0.05 * float(rng.normal())})
        for one in some(space, 15)
    ]
    found = learnt(space, noisy)
    for one, before in zip(found.removals, space.removals, strict=True):
        assert one.savings["latency_ratio"] == pytest.approx(before.savings["latency_ratio"], abs=0.05)


def test_forecasts_of_new_students_get_better() -> None:
    space = make_space()
    known = [Measured(candidate=one, metrics={"latency_ratio": latency_of(one)}) for one in some(space, 30)]
    new = some(space, 50, seed=1)

    def error(table: Space) -> float:
        return float(np.mean([abs(forecast(table, one)["latency_ratio"] - latency_of(one)) for one in new]))

    assert error(learnt(space, known)) < 0.5 * error(space)


def test_nothing_measured_changes_nothing() -> None:
    space = make_space()
    assert learnt(space, []) == space


def test_a_metric_that_was_not_measured_keeps_its_savings() -> None:
    space = make_space()
    for metrics in ({"latency_ratio": float("nan")}, {}, {"unheard_of": 1.0}):
        student = measured(space, space.candidate(remove=["b0"]), metrics)
        assert student.metrics == {}
        assert learnt(space, [student]).removals == space.removals
