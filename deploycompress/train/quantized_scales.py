"""Keeps the scales of a network in quantisation-aware training where its weights are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import numpy as np
import torch

from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule
from deploycompress.network.qdq_pairs import QdqPair, largest_weight_code, qdq_pairs
from deploycompress.profile_precision import Int8Format

_SMALLEST = torch.finfo(torch.float32).tiny  # weights below it have no full precision and count as zero


@final
class WeightScales:
    """The scales of a network's rounded weights, which follow from the weights as when the network is quantised.

    Args:
        module: of a trainable 8-bit graph whose scales fit its weights; they tell whether weights have 7 bits or 8.
    """

    def __init__(self, module: GraphModule) -> None:
        graph, keys = module.source_graph, module.state_keys()
        trained = dict(module.named_parameters())
        pairs = [pair for pair in qdq_pairs(graph) if pair.is_weight and keys.get(pair.value) in trained]
        self._module, self._largest_code = module, _largest_code(graph, pairs)
        self._pairs = [(pair, keys[pair.value], keys[pair.scale]) for pair in pairs]

    @torch.no_grad()
    def update(self) -> None:
        """Make each scale the largest magnitude under it divided by the largest code."""
        for pair, weight, scale in self._pairs:
            # looked up each time: moving a module to another device replaces its buffers
            magnitudes = self._module.get_parameter(weight).abs()
            found = magnitudes.amax(dim=_under_one_scale(pair, magnitudes.ndim)).double() / self._largest_code
            self._module.get_buffer(scale).copy_(found.masked_fill_(found < _SMALLEST, 1.0))


def _under_one_scale(pair: QdqPair, rank: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if pair.axis is None or axis != pair.axis % rank)


def _largest_code(graph: Graph, pairs: Iterable[QdqPair]) -> int:
    """Give the largest code of weights in the range that they use: the narrower one if it holds all of them."""
    narrow, wide = (largest_weight_code(Int8Format(reduced_range=is_reduced)) for is_reduced in (True, False))
    for pair in pairs:
        weight = np.abs(graph.weights[pair.value])
        largest = weight.max(axis=_under_one_scale(pair, weight.ndim), initial=0.0)
        if np.any(np.rint(largest / graph.weights[pair.scale]) > narrow):
            return wide
    return narrow
