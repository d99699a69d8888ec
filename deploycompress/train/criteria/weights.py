"""A network's weights by their names in the graph, refused where they are no numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from deploycompress.errors import ModelError
from deploycompress.network.module import GraphModule
from deploycompress.train.criteria.finite import check_finite
from deploycompress.train.criteria.ties import MAKES, ChannelTie


def making_ties(module: GraphModule, ties: Sequence[ChannelTie]) -> list[tuple[ChannelTie, nn.Parameter]]:
    """Pair the ties of weights that make channels with the weights; constants that are not trained are left out.

    Raises:
        ModelError: there is none, or one holds NaN or infinity.
    """
    weights = trained_weights(module)
    found = [(tie, weights[tie.tensor]) for tie in ties if tie.role == MAKES and tie.tensor in weights]
    if not found:
        raise ModelError("None of the weights that make channels is trained, so the channels cannot be scored.")
    for tie, weight in found:
        check_finite(f"Weight {tie.tensor!r}", weight)
    return found


def trained_weights(module: GraphModule) -> dict[str, nn.Parameter]:
    """Give the parameters by their names in the graph."""
    parameters = dict(module.named_parameters())
    return {name: parameters[key] for name, key in module.state_keys().items() if key in parameters}
