"""The two recurrent policies as functions of their tensors: a keep logit for every layer, ten logits for every width.

Layers, units and directions are the paper's (section 3.2 and appendix 10.1). The critic is one more linear layer on
the hidden state (appendix 6), and is only there where the method asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deploycompress.search.n2n.features import DECISION_FEATURES, FEATURES
from deploycompress.search.n2n.weights import Shapes, Weights, drawn

ACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FIRST_ACTION = 1.0  # stands before the first decision: nothing has been shrunk yet

Hidden = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of one policy's network.

    Attributes:
        inputs: features per step.
        hidden: units of each LSTM layer and direction.
        depth: LSTM layers.
        is_bidirectional: whether it reads the layers from both ends.
        outputs: logits per step.
    """

    inputs: int
    hidden: int
    depth: int
    is_bidirectional: bool
    outputs: int

    @property
    def directions(self) -> int:
        """How often the sequence is read."""
        return 2 if self.is_bidirectional else 1

    def shapes(self, *, with_critic: bool) -> dict[str, tuple[int, ...]]:
        """Name every tensor with its shape."""
        read = self.hidden * self.directions
        shapes = dict(self.cells)
        shapes |= {"policy.weight": (self.outputs, read), "policy.bias": (self.outputs,)}
        if with_critic:
            shapes |= {"critic.weight": (1, read), "critic.bias": (1,)}
        return shapes

    @property
    def cells(self) -> Shapes:
        """Name the tensors of the LSTM with their shapes, in the order torch wants them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.depth):
            inputs = self.inputs if layer == 0 else self.hidden * self.directions
            for direction in ("forward", "backward")[: self.directions]:
                name = f"lstm.{layer}.{direction}"
                shapes[f"{name}.input_weight"] = (4 * self.hidden, inputs)
                shapes[f"{name}.hidden_weight"] = (4 * self.hidden, self.hidden)
                shapes[f"{name}.input_bias"] = (4 * self.hidden,)
                shapes[f"{name}.hidden_bias"] = (4 * self.hidden,)
        return shapes


REMOVAL = Architecture(inputs=len(FEATURES), hidden=30, depth=2, is_bidirectional=True, outputs=1)
SHRINKAGE = Architecture(
    inputs=len(DECISION_FEATURES), hidden=50, depth=2, is_bidirectional=False, outputs=len(ACTIONS)
)


def initial(architecture: Architecture, generator: np.random.Generator, *, with_critic: bool) -> dict[str, Tensor]:
    """Draw a network's tensors as is usual for an LSTM: uniformly within one over the root of its units."""
    shapes = architecture.shapes(with_critic=with_critic)
    return drawn(shapes, 1 / math.sqrt(architecture.hidden), generator)


def hidden_states(
    architecture: Architecture, weights: Weights, inputs: Tensor, before: Hidden | None = None
) -> tuple[Tensor, Hidden]:
    """Run the LSTM.

    Args:
        architecture: of the network.
        weights: its tensors.
        inputs: shape [M, T, F].
        before: state to go on from, each [depth * directions, M, hidden]; zeros for none.

    Returns:
        Hidden states of the upper layer, shape [M, T, directions * hidden], and the state after the last step.

    Raises:
        ValueError: the inputs have another number of features.
    """
    if inputs.shape[2] != architecture.inputs:
        raise ValueError(f"Inputs have {inputs.shape[2]} features, expected {architecture.inputs}.")
    rows = architecture.depth * architecture.directions
    zeros = torch.zeros(rows, inputs.shape[0], architecture.hidden)
    tensors = [weights[name] for name in architecture.cells]
    read, hidden, cell = torch.lstm(
        inputs,
        before or (zeros, zeros),
        tensors,
        True,
        architecture.depth,
        0.0,
        False,
        architecture.is_bidirectional,
        True,
    )
    return read, (hidden, cell)


def logits_of(weights: Weights, read: Tensor) -> Tensor:
    """Turn hidden states into logits, shape [..., outputs]."""
    return functional.linear(read, weights["policy.weight"], weights["policy.bias"])


def values_of(weights: Weights, read: Tensor) -> Tensor:
    """Foresee the reward from hidden states, shape [...]."""
    return functional.linear(read, weights["critic.weight"], weights["critic.bias"]).squeeze(-1)
