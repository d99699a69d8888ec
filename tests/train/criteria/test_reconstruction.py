"""Reconstruction scores are the errors that explicit zeroing of a channel makes in what reads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.readers import Reader, find_readers
from deploycompress.train.criteria.reconstruction import reconstruction_scores
from tests.build import residual_net
from tests.train.criteria.networks import (
    NETWORKS,
    Network,
    layer_alone,
    network,
    only,
    scores,
    some_batches,
    with_inner_norm,
)


def errors_of_zeroing(net: Network, reader: Reader, images: torch.Tensor) -> NDArray[np.float64]:
    """Set one channel after the other to its mean in front of a layer, and look at how its output changes."""
    layer = layer_alone(net.graph, reader)
    with torch.no_grad():
        _, seen = net.module.observe((reader.source, reader.output), images)
        source, output = seen[reader.source], seen[reader.output]
        mean = source.mean([dim for dim in range(source.ndim) if dim != reader.axis], keepdim=True)
        within = output.mean(
            [dim for dim in range(output.ndim) if dim != reader.output_axis % output.ndim], keepdim=True
        )
        errors = np.zeros(net.channels.count + 1)
        for channel in set(reader.channels.tolist()) - {0}:
            is_gone = only(reader, channel, source.ndim)
            change = layer(source) - layer(torch.where(is_gone, mean, source))
            errors[channel] = float(change.square().sum() / (output - within).square().sum().clamp_min(1e-9))
    return errors


@pytest.mark.parametrize("kind", NETWORKS)
def test_scores_are_the_errors_of_explicit_zeroing_summed_over_readers(kind: str) -> None:
    net, batches = network(NETWORKS[kind]()), some_batches(16, 16)
    readers = find_readers(net.graph, net.channels.ties, net.channels.axes)
    expected = sum((errors_of_zeroing(net, reader, batches[0][0]) for reader in readers), np.zeros(1))
    found = reconstruction_scores(net.module, readers, net.channels.count, batches, probes=500)
    np.testing.assert_allclose(found, expected, rtol=0.15, atol=1e-8)
    assert expected.max() > 0


def test_few_probes_rank_as_many_do() -> None:
    net, batches = network(residual_net()), some_batches(64, 32)
    readers = find_readers(net.graph, net.channels.ties, net.channels.axes)
    rough = scores(net, Criterion.RECONSTRUCTION, batches)
    fine = reconstruction_scores(net.module, readers, net.channels.count, batches, probes=200, seed=1)
    assert np.corrcoef(rough, fine)[0, 1] > 0.98


def test_a_channel_that_is_always_the_same_costs_nothing() -> None:
    graph = residual_net()
    before = scores(network(graph), Criterion.RECONSTRUCTION, some_batches())
    _, channels = with_inner_norm(graph, 0, scale=0, shift=0)
    best = int(np.argmax(before[channels]))
    same, _ = with_inner_norm(graph, best, scale=0, shift=3)
    assert (
        scores(network(same), Criterion.RECONSTRUCTION, some_batches())[channels[best]] < 1e-9 < before[channels[best]]
    )


def test_a_layer_that_always_says_the_same_makes_no_error() -> None:
    graph = residual_net()
    head = graph.nodes[-1].inputs[1]
    net = network(graph.with_weights({head: np.full_like(graph.weights[head], 1e-12)}))
    batches = some_batches(8, 8)
    expected, found = (scores(one, Criterion.RECONSTRUCTION, batches) for one in (network(graph), net))
    (read,) = (tie.channels for tie in net.channels.ties if tie.tensor == head and tie.role == "reads")
    assert (found[read] <= expected[read]).all()
    assert found[read].sum() < expected[read].sum()
