"""Groups partition the channels; what cannot be followed is frozen and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings

from deploycompress.channels.components import components
from deploycompress.channels.trace import channel_groups, trace_channels
from deploycompress.graph import Graph
from tests.build import NetBuilder, residual_net, start
from tests.layers import graphs


def head(net: NetBuilder, x: str) -> Graph:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 3), input_shape=(3, 8, 8))


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_groups_partition_the_channels(graph: Graph) -> None:
    channels = trace_channels(graph)
    seen = [int(number) for index in range(len(channels.groups)) for number in channels.members_of(index)]
    assert sorted(seen) == list(range(1, channels.count + 1))
    assert sum(group.width for group in channels.groups) == channels.count
    assert len({group.name for group in channels.groups}) == len(channels.groups)


def test_residual_stream_is_one_group_and_padding_another() -> None:
    groups = {group.name: group for group in channel_groups(residual_net(width=8))}
    widths = [group.width for group in groups.values() if not group.frozen]
    # the stream with its inside of the wider one, two inner widths, one wide inner width, the padded channels
    assert sorted(widths) == [8, 8, 8, 8, 16]
    stream = groups["conv0"]
    makers = {tensor for tensor, axis in stream.members if tensor.startswith("conv") and axis == 0}
    assert len(makers) == 4


def test_unknown_operator_freezes_and_is_named() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 4))
    x = net.op("LRN", x, size=3)
    groups = channel_groups(head(net, net.conv(x, 6)))
    frozen = {group.name: group.why for group in groups if group.frozen}
    assert "LRN" in frozen["conv0"]
    assert any(group.width == 6 and not group.frozen for group in groups)


def test_custom_domain_is_unknown_even_with_a_known_name() -> None:
    net = start()
    graph = head(net, net.conv(net.op("Relu", net.conv("x", 4)), 6))
    nodes = tuple(replace(node, domain="acme") if node.op == "Relu" else node for node in graph.nodes)
    frozen = {group.name: group.why for group in channel_groups(replace(graph, nodes=nodes)) if group.frozen}
    assert "acme.Relu" in frozen["conv0"]


def test_softmax_over_channels_freezes_them() -> None:
    net = start()
    x = net.op("Softmax", net.conv("x", 4), axis=1)
    frozen = [group for group in channel_groups(head(net, net.conv(x, 6))) if group.frozen]
    assert any("mixes the channels" in group.why for group in frozen)


def test_softmax_over_space_does_not() -> None:
    net = start()
    x = net.op("Softmax", net.conv("x", 4), axis=3)
    groups = channel_groups(head(net, net.conv(x, 6)))
    assert sorted(group.width for group in groups if not group.frozen) == [4, 6]


def test_shared_weight_ties_both_uses() -> None:
    net = start()
    x = net.conv("x", 4)
    first = net.op("Conv", x, net.normal("shared.weight", 4, 4, 3, 3), width=4, pads=[1] * 4)
    second = net.op("Conv", first, "shared.weight", width=4, pads=[1] * 4)
    groups = [group for group in channel_groups(head(net, net.conv(second, 6))) if not group.frozen]
    assert sorted(group.width for group in groups) == [4, 6]


def test_add_with_the_image_freezes() -> None:
    net = start()
    x = net.op("Add", net.conv("x", 3), "x")
    why = [group.why for group in channel_groups(head(net, net.conv(x, 6))) if group.frozen]
    assert any("must stay" in reason for reason in why)


def test_components_equal_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 5, 60):
        left, right = rng.integers(0, count, (2, count // 2))
        expected = np.arange(count)
        for _ in range(count):
            for a, b in zip(left, right, strict=True):
                expected[a] = expected[b] = min(expected[a], expected[b])
        assert np.array_equal(components(count, left, right), expected)
