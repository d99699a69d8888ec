"""When sampling ends: the rule's own approximation against exact binomials, and the cases in which it gives up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploycompress.measuring.agent.refusal import RefusedError
from deploycompress.measuring.agent.stopping import SPOILT_ROUNDS, StopRule, is_precise
from deploycompress.measuring.interval import quantile_interval

REQUEST = {
    "min_samples": 64,
    "min_rounds": 8,
    "enough_seconds": 10.0,
    "max_seconds": 20.0,
    "precision": 0.01,
    "confidence": 0.95,
    "reference": 0,
}


def rule(**changes: Any) -> StopRule:  # Any: JSON
    return StopRule({**REQUEST, **changes})


def rounds(count: int, *, blocks: int = 16, ratio_noise: float = 0.0, drift: float = 0.0) -> list[list[list[int]]]:
    generator = np.random.default_rng(1)
    made = []
    for _ in range(count):
        mood = 1e6 * generator.lognormal(0, drift)
        student = mood * generator.lognormal(0, ratio_noise)
        made.append([[int(mood)] * blocks, [int(student)] * blocks])
    return made


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [10, 64, 333, 5000])
def test_the_approximate_ranks_are_at_most_two_off_the_exact_ones(count: int, confidence: float) -> None:
    values = list(range(1, count + 1))  # so that values are ranks
    exact = quantile_interval(values, 0.5, confidence)
    middle = count // 2 + 1
    allowed = [width / (2 * middle) for width in range(count)]
    approximate = next(2 * middle * precision for precision in allowed if is_precise(values, precision, confidence))
    assert approximate == pytest.approx(exact.high - exact.low, abs=2)


def test_too_few_values_are_never_precise() -> None:
    assert not is_precise([1.0, 1.0], 0.5, 0.95)


def test_steady_samples_end_it_early() -> None:
    assert rule().is_met(rounds(8), elapsed=0.1)


@pytest.mark.parametrize("count", [3, 7])
def test_never_before_the_least_rounds_and_samples(count: int) -> None:
    assert not rule().is_met(rounds(count, blocks=64), elapsed=15.0)
    assert not rule(min_samples=1000).is_met(rounds(count + 8), elapsed=15.0)


def test_a_noisy_ratio_goes_on_although_both_medians_are_sure() -> None:
    noisy = rounds(60)
    for number, (baseline, student) in enumerate(noisy):
        # Either model is steady in most rounds, and in half of the rounds one of them is not.
        baseline[:] = [800_000 if number % 10 < 4 else 1_000_000] * 16
        student[:] = [1_250_000 if number % 10 == 4 else 1_000_000] * 16
    medians = [[float(blocks[model][0]) for blocks in noisy] for model in (0, 1)]
    ratios = [student / baseline for baseline, student in zip(*medians, strict=True)]
    assert [is_precise(values, 0.01, 0.6) for values in (*medians, ratios)] == [True, True, False]
    assert not rule(confidence=0.6).is_met(noisy, elapsed=5.0)
    assert rule(confidence=0.6, reference=None).is_met(noisy, elapsed=5.0)


def test_common_drift_keeps_the_medians_open_until_the_time_is_over() -> None:
    drifting = rounds(40, drift=0.2)
    assert not rule().is_met(drifting, elapsed=9.0)
    assert rule().is_met(drifting, elapsed=10.0)


def test_precision_is_not_computed_again_at_once() -> None:
    one = rule()
    assert not one.is_met(rounds(40, drift=0.2), elapsed=5.0)
    assert not one.is_met(rounds(40), elapsed=5.5)
    assert one.is_met(rounds(40), elapsed=6.1)


@pytest.mark.parametrize(
    ("count", "blocks", "redone", "words"),
    [
        (10, 1, 0, r"Only 10 of 64 samples fit into 20 s; raise max_seconds"),
        (4, 100, 0, "Only 4 of 8 rounds"),
        (4, 1, 3, r"Only 4 of 64 samples fit into 20 s \(3 rounds were spoilt"),
        (0, 1, 3, "throttled or its clock dropped by more than 10 % in 3 of 3 rounds; cool it, give it more power"),
    ],
)
def test_when_the_time_is_over_it_is_inconclusive(count: int, blocks: int, redone: int, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        rule().require_hope(rounds(count, blocks=blocks), redone, elapsed=20.0)
    assert caught.value.kind == "inconclusive"


def test_a_machine_that_spoils_most_rounds_is_inconclusive() -> None:
    rule().require_hope(rounds(10), SPOILT_ROUNDS + 10, elapsed=1.0)
    with pytest.raises(RefusedError, match="clock dropped by more than 10 % in 43 of 53 rounds"):
        rule().require_hope(rounds(10), SPOILT_ROUNDS + 11, elapsed=1.0)
