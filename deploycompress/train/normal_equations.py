"""Least squares through normal equations in float64: rows come batch by batch, and are not kept."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from torch import Tensor


@final
class NormalEquations:
    """The sums that a linear regression needs, for several independent groups at once.

    Args:
        groups: G, regressions side by side.
        inputs: P, unknowns of each output.
        outputs: M, outputs of each group.
        device: where the sums lie.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, *, device: torch.device) -> None:
        zeros = partial(torch.zeros, dtype=torch.float64, device=device)
        self._count = 0
        self._squares = zeros((groups, inputs, inputs))
        self._products = zeros((groups, inputs, outputs))
        self._input_sums = zeros((groups, inputs))
        self._output_sums = zeros((groups, outputs))

    def add(self, rows: Tensor, targets: Tensor) -> None:
        """Take in some rows.

        Args:
            rows: what the outputs are made of, shape [G, N, P], float64.
            targets: what they shall be, shape [G, N, M], float64.
        """
        turned = rows.transpose(1, 2)
        self._count += rows.shape[1]
        self._squares += turned @ rows
        self._products += turned @ targets
        self._input_sums += rows.sum(dim=1)
        self._output_sums += targets.sum(dim=1)

    def solve(self, *, ridge: float, has_offset: bool) -> tuple[Tensor, Tensor]:
        """Find the weights of least squared error plus `ridge` times the mean square of the inputs on their norm.

        Hoerl and Kennard 1970, eq. 2.1, on centred rows where there is an offset, so that the offset is free.

        Args:
            ridge: greater than zero, so that fewer rows than unknowns have an answer.
            has_offset: whether a constant may be added to each output.

        Returns:
            Weights [G, M, P] and offsets [G, M], the latter zero without an offset.
        """
        squares, products = self._squares, self._products
        if has_offset:
            squares = self._centred_squares()
            products = products - self._input_mean()[:, :, None] * self._output_sums[:, None, :]
        diagonal = squares.diagonal(dim1=1, dim2=2)
        strength = ridge * diagonal.mean(dim=1).clamp_min(torch.finfo(torch.float64).tiny ** 0.5)
        damped = squares + torch.diag_embed(strength[:, None].expand_as(diagonal))
        solution = torch.linalg.solve(damped, products).transpose(1, 2)
        if not has_offset:
            return solution, torch.zeros_like(self._output_sums)
        return solution, self._output_sums / max(self._count, 1) - _times(solution, self._input_mean())

    def moments(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Give mean and variance, over the rows, of what some weights [G, M, P] make of them, each [G, M]."""
        spread = ((weights @ self._centred_squares()) * weights).sum(dim=2) / max(self._count, 1)
        return _times(weights, self._input_mean()), spread.clamp_min(0.0)

    def _input_mean(self) -> Tensor:
        return self._input_sums / max(self._count, 1)

    def _centred_squares(self) -> Tensor:
        return self._squares - self._input_sums[:, :, None] * self._input_mean()[:, None, :]


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]
