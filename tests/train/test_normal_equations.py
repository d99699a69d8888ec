"""Sums over batches give numpy's least squares, group by group."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.train.normal_equations import NormalEquations

CPU = torch.device("cpu")


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((2, count, 5)) + 3.0), torch.from_numpy(
        rng.standard_normal((2, count, 4))
    )


@pytest.mark.parametrize("has_offset", [True, False])
def test_the_solution_is_that_of_least_squares(has_offset: bool) -> None:
    inputs, targets = rows(40)
    equations = NormalEquations(2, 5, 4, device=CPU)
    for start in (0, 13, 26):
        equations.add(inputs[:, start : start + 13], targets[:, start : start + 13])
    equations.add(inputs[:, 39:], targets[:, 39:])
    weights, offsets = equations.solve(ridge=1e-14, has_offset=has_offset)
    for group in range(2):
        design = inputs[group].numpy()
        if has_offset:
            design = np.concatenate([design, np.ones((40, 1))], axis=1)
        expected = np.linalg.lstsq(design, targets[group].numpy())[0]
        np.testing.assert_allclose(weights[group].numpy(), expected[:5].T, atol=1e-8)
        np.testing.assert_allclose(offsets[group].numpy(), expected[5] if has_offset else np.zeros(4), atol=1e-8)


def test_the_ridge_makes_what_is_made_small() -> None:
    inputs, targets = rows(3)
    equations = NormalEquations(2, 5, 4, device=CPU)
    equations.add(inputs, targets)
    weights, _ = equations.solve(ridge=0.1, has_offset=False)
    for group in range(2):
        design = inputs[group].numpy()
        strength = np.sqrt(0.1 * np.square(design).sum() / 5)
        damped = np.concatenate([design, strength * np.eye(5)])
        wanted = np.concatenate([targets[group].numpy(), np.zeros((5, 4))])
        np.testing.assert_allclose(weights[group].numpy(), np.linalg.lstsq(damped, wanted)[0].T, atol=1e-10)


def test_inputs_that_are_always_zero_give_no_weights() -> None:
    equations = NormalEquations(1, 3, 2, device=CPU)
    equations.add(torch.zeros(1, 6, 3, dtype=torch.float64), torch.full((1, 6, 2), 4.0, dtype=torch.float64))
    weights, offsets = equations.solve(ridge=1e-3, has_offset=True)
    assert torch.equal(weights, torch.zeros(1, 2, 3, dtype=torch.float64))
    torch.testing.assert_close(offsets, torch.full((1, 2), 4.0, dtype=torch.float64))


def test_moments_are_those_of_the_results() -> None:
    inputs, targets = rows(30)
    equations = NormalEquations(2, 5, 4, device=CPU)
    equations.add(inputs, targets)
    weights = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 4, 5)))
    mean, variance = equations.moments(weights)
    results = inputs @ weights.transpose(1, 2)
    torch.testing.assert_close(mean, results.mean(dim=1))
    torch.testing.assert_close(variance, results.var(dim=1, correction=0))
