"""The regression against a direct computation: augmented least squares, and leaving out one student by refitting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deploycompress.search.joint.sensitivity import LEAST_STUDENTS, STRENGTHS, Sensitivities, first_belief, fitted

Array = NDArray[np.float64]
WHOLE = 0.0


def students(count: int = 12, choices: int = 4, *, noise: float = 0.02, seed: int = 0) -> tuple[Array, Array, Array]:
    """Make students whose rewards are below zero, where they are not transformed; and what their losses are."""
    rng = np.random.default_rng(seed)
    gone = rng.random((count, choices))
    losses = np.array([2.0, 0.5, 1.0, 3.0])[:choices]
    return gone, WHOLE - gone @ losses - 0.1 + noise * rng.standard_normal(count), losses


def alike(gone: Array, rewards: Array, savings: Array, whole: float) -> Sensitivities:
    """Fit to students of which none was a probe."""
    return fitted(gone, rewards, np.zeros(len(rewards), dtype=np.bool_), savings, whole)


def ridge(inputs: Array, targets: Array, strength: float) -> Array:
    """Fit an intercept and slopes, of which only the slopes are drawn to zero: ordinary least squares, augmented."""
    choices = inputs.shape[1]
    rows = np.block(
        [[np.ones((len(inputs), 1)), inputs], [np.zeros((choices, 1)), np.sqrt(strength) * np.eye(choices)]]
    )
    return np.asarray(np.linalg.lstsq(rows, np.concatenate([targets, np.zeros(choices)]), rcond=None)[0])


def left_out(inputs: Array, targets: Array, strength: float) -> float:
    errors = []
    for index in range(len(targets)):
        rest = np.arange(len(targets)) != index
        intercept, *slopes = ridge(inputs[rest], targets[rest], strength)
        errors.append(targets[index] - intercept - inputs[index] @ np.array(slopes))
    return float(np.mean(np.square(errors)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.02, 1.0])
def test_losses_are_those_of_the_strength_that_foresees_left_out_students_best(seed: int, noise: float) -> None:
    gone, rewards, _ = students(noise=noise, seed=seed)
    savings = np.array([0.1, 0.2, 0.4, 0.1])
    lost = WHOLE - rewards
    usual = lost.mean() / (gone @ savings).mean() * savings
    scale = savings / savings.mean()
    inputs, targets = gone * scale, lost - gone @ usual
    errors = {strength: left_out(inputs, targets, strength) for strength in STRENGTHS}
    best = min(errors, key=lambda one: errors[one])
    found = alike(gone, rewards, savings, WHOLE)
    np.testing.assert_allclose(found.mean, usual + scale * ridge(inputs, targets, best)[1:], rtol=1e-6)
    centred = inputs - inputs.mean(axis=0)
    covariance = errors[best] * np.linalg.inv(centred.T @ centred + best * np.eye(4))
    np.testing.assert_allclose(found.root @ found.root.T, np.outer(scale, scale) * covariance, rtol=1e-6)


def test_losses_are_found_when_there_are_students_enough() -> None:
    gone, rewards, losses = students(400, noise=0.01)
    np.testing.assert_allclose(alike(gone, rewards, np.full(4, 0.1), WHOLE).mean, losses, atol=0.05)


@pytest.mark.parametrize("count", range(LEAST_STUDENTS))
def test_before_there_are_students_enough_a_choice_costs_what_it_saves(count: int) -> None:
    gone, rewards, _ = students(count)
    savings = np.array([0.1, 0.2, 0.4, 0.1])
    mean = alike(gone, rewards, savings, WHOLE).mean
    np.testing.assert_allclose(mean / mean[0], savings / savings[0])
    assert (mean > 0).all()


def test_probes_are_compared_with_each_other_only() -> None:
    """What all probes lack, because they were trained less, is nobody's loss."""
    gone, rewards, losses = students(400, noise=0.01)
    probes = np.arange(400) % 4 == 0
    gone = np.where(probes[:, None], gone / 2, gone)
    rewards = WHOLE - gone @ losses - 0.1 - 5.0 * probes
    savings = np.full(4, 0.1)
    np.testing.assert_allclose(fitted(gone, rewards, probes, savings, WHOLE).mean, losses, atol=0.05)
    assert np.abs(alike(gone, rewards, savings, WHOLE).mean - losses).max() > 1.0
    everyone = fitted(gone, rewards, np.ones(400, dtype=np.bool_), savings, WHOLE)
    np.testing.assert_array_equal(everyone.mean, alike(gone, rewards, savings, WHOLE).mean)


def test_rewards_that_are_shares_are_compared_by_their_log_odds() -> None:
    gone, rewards, losses = students(400, noise=0.01)
    shares = 1 / (1 + np.exp(-(rewards / 3 + 2)))
    found = alike(gone, shares, np.full(4, 0.1), float(1 / (1 + np.exp(-2.0))))
    np.testing.assert_allclose(found.mean, losses / 3, atol=0.05)


def test_draws_spread_as_told_and_believe_in_no_gift() -> None:
    gone, rewards, _ = students(30, noise=0.3)
    found = alike(gone, rewards, np.full(4, 0.1), WHOLE)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(found.drawn(rng, 0.0), np.maximum(found.mean, found.least))
    bold = np.array([found.drawn(rng, 1.0) for _ in range(4000)])
    far = found.mean - found.least > 4 * np.sqrt(np.diag(found.root @ found.root.T))
    assert far.any()
    wanted = (found.root @ found.root.T)[np.ix_(far, far)]
    np.testing.assert_allclose(np.cov(bold[:, far].T), wanted, atol=0.1 * wanted.max())
    wild = np.array([found.drawn(rng, 100.0) for _ in range(100)])
    assert (wild >= found.least).all()
    assert (found.least > 0).all()


@pytest.mark.parametrize("rewards", [np.full(6, 0.5), np.full(6, -1.0), np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])])
def test_odd_rewards_give_numbers(rewards: Array) -> None:
    gone = np.random.default_rng(0).random((6, 4))
    for whole in (-1.0, 0.0, 1.0):
        drawn = alike(gone, rewards, np.full(4, 0.1), whole).drawn(np.random.default_rng(1), 1.0)
        assert np.isfinite(drawn).all()
        assert (drawn > 0).all()


def test_more_choices_than_students_give_numbers() -> None:
    rng = np.random.default_rng(0)
    found = alike(rng.random((5, 40)), rng.random(5), np.full(40, 0.02), 0.95)
    assert np.isfinite(found.drawn(rng, 1.0)).all()


def test_the_first_belief_shares_out_by_singles_what_the_savings_share_out_alone() -> None:
    savings, singles = np.array([1.0, 1.0, 2.0, 4.0]), {0: 0.3, 1: 0.1}
    by_singles = first_belief(savings, singles, 1.0)
    np.testing.assert_allclose(by_singles, [0.75, 0.25, 1.0, 2.0])
    np.testing.assert_allclose(first_belief(savings, singles, 0.5), [0.625, 0.375, 1.0, 2.0])
    np.testing.assert_allclose(first_belief(savings, {}, 1.0), savings / 2)
    np.testing.assert_allclose(first_belief(savings, {0: 0.0}, 1.0), savings / 2)
    assert first_belief(savings, {0: 0.0, 1: 1.0}, 1.0).min() > 0
