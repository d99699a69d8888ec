"""Readers are the layers that read channels with weights; a contribution is what a layer says to one channel alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import ModelError
from deploycompress.train.criteria.readers import contributions, find_readers, pull_back
from tests.build import residual_net, start
from tests.train.criteria.networks import NETWORKS, layer_alone, network, only, some_batches


@pytest.mark.parametrize("kind", NETWORKS)
def test_contributions_are_a_layers_answers_to_single_channels(kind: str) -> None:
    net, images = network(NETWORKS[kind]()), some_batches(5, 5)[0][0]
    for reader in find_readers(net.graph, net.channels.ties, net.channels.axes):
        _, seen = net.module.observe((reader.source, reader.output), images.clone().requires_grad_())
        source, output = seen[reader.source], seen[reader.output]
        direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        pulled = pull_back(source, output, direction)
        found = contributions(reader, source, pulled, samples=5, channel_count=net.channels.count)
        layer = layer_alone(net.graph, reader)
        by_sample = output.shape.index(5)
        with torch.no_grad():
            for channel in set(reader.channels.tolist()) - {0}:
                answer = layer(source * only(reader, channel, source.ndim)) - layer(torch.zeros_like(source))
                expected = (answer * direction).movedim(by_sample, 0).flatten(1).sum(dim=1).double()
                torch.testing.assert_close(found[:, channel], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_weight_that_reads_channels_has_its_reader(kind: str) -> None:
    net = network(NETWORKS[kind]())
    reading = {tie.tensor for tie in net.channels.ties if tie.role == "reads" and tie.channels.any()}
    outputs = {reader.output for reader in find_readers(net.graph, net.channels.ties, net.channels.axes)}
    found = {name for node in net.graph.nodes if node.outputs[0] in outputs for name in node.inputs}
    assert reading
    assert reading <= found


def test_samples_are_found_on_the_axis_that_grows_with_them() -> None:
    net = network(NETWORKS["tokens"]())
    reader = next(r for r in find_readers(net.graph, net.channels.ties, net.channels.axes) if len(r.sizes) == 3)
    assert reader.batch_axis(torch.zeros(64, 5, 8), 5) == 1
    assert reader.batch_axis(torch.zeros(64, 1, 8), 1) == 0  # of one sample, any axis will do


def test_a_network_in_which_nothing_reads_channels_is_refused() -> None:
    net = start()
    graph = net.finish(net.conv("x", 4), input_shape=(3, 8, 8))
    channels = network(graph).channels
    with pytest.raises(ModelError, match="No layer of the network reads channels"):
        find_readers(graph, channels.ties, channels.axes)


def test_a_stream_is_read_by_every_block() -> None:
    net = network(residual_net())
    stream = next(group for group in net.channels.free_groups if group.name == "conv0")
    member = int(net.channels.members_of(net.channels.groups.index(stream))[0])
    readers = find_readers(net.graph, net.channels.ties, net.channels.axes)
    assert sum(int(np.isin(member, reader.channels)) for reader in readers) == 4  # three blocks and the head
