"""What is offered as a merge makes one layer of two, whatever does so is offered, and the function is as without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.surgery.oracle import compare_graphs, random_inputs
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.shipped import shipped_form
from deploycompress.surgery.wiring import wire
from tests.build import NetBuilder, start
from tests.layers import graphs
from tests.surgery.networks import IMAGE, NETWORKS, head
from tools.block_oracles import with_passage
from tools.cifar_resnet import resnet20, resnet56


def relu6(net: NetBuilder, x: str) -> str:
    for name, value in (("low", 0), ("high", 6)):
        net.weight(name, np.asarray(value, np.float32))
    return net.op("Clip", x, "low", "high")


def inverted_residual() -> Graph:
    """Expand, depthwise, project, as in MobileNetV2 (Sandler et al., 2018, figure 4)."""
    net = start(1)
    x = net.norm(net.conv("x", 4, bias=False))
    wide = relu6(net, net.norm(net.conv(x, 24, kernel=1, bias=False)))
    wide = relu6(net, net.norm(net.depthwise(wide)))
    return head(net, net.op("Add", x, net.norm(net.conv(wide, 4, kernel=1, bias=False))))


def merges_of(graph: Graph) -> list[Block]:
    return [block for block in blocks(graph) if block.kind == "merge"]


def layers_of(graph: Graph) -> int:
    """Count the operators with weights."""
    wiring = wire(graph)
    return sum(wiring.is_weighted(index) for index in range(len(graph.nodes)))


def layers_shipped(graph: Graph) -> int:
    return layers_of(shipped_form(graph))


def assert_merges(graph: Graph, block: Block) -> None:
    left = remove_blocks(graph, [block.name])
    inputs = random_inputs(graph, seed=4)
    assert compare_graphs(left, with_passage(graph, block), inputs).relative <= 1e-5
    assert compare_graphs(shipped_form(left), left, inputs).relative <= 1e-5
    inside = [one for one in blocks(graph) if one.kind == "layer" and set(one.nodes) < set(block.nodes)]
    others = [remove_blocks(graph, [one.name]) for one in inside if one.output == block.output]
    assert all(layers_shipped(left) < layers_shipped(other) for other in (graph, *others))


def test_the_depthwise_layer_goes_with_the_activation_before_it() -> None:
    graph = inverted_residual()
    (found,) = merges_of(graph)
    depthwise = next(node for node in graph.nodes if node.attributes.get("group") == 24)
    assert found.name == f"{depthwise.inputs[1].removesuffix('.weight')}/merge"
    operators = [node.op for node in graph.nodes if node.name in found.nodes]
    assert operators == ["Clip", "Conv", "BatchNormalization", "Clip"]
    assert_merges(graph, found)
    assert layers_shipped(remove_blocks(graph, [found.name])) == layers_shipped(graph) - 2


def wide_before_classifier(net: NetBuilder) -> Graph:
    return head(net, net.op("HardSwish", net.norm(net.conv("x", 32, kernel=1, bias=False))))


def single_positions_after_a_window(net: NetBuilder) -> Graph:
    return head(net, net.op("Tanh", net.norm(net.conv(net.op("Relu", net.conv("x", 8)), 6, kernel=1))))


def spelled_activation(net: NetBuilder) -> Graph:
    x = net.conv("x", 16, kernel=1)
    x = net.op("Mul", x, net.op("Sigmoid", x))
    return head(net, net.op("Abs", net.conv(x, 4, kernel=1)))


def rows(net: NetBuilder) -> Graph:
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv("x", 8)), axis=1)
    return net.finish(net.linear(net.op("Relu", net.linear(net.op("Elu", net.linear(x, 16)), 8)), 5), input_shape=IMAGE)


def norm_behind_the_activation(net: NetBuilder) -> Graph:
    return head(net, net.op("Abs", net.conv(net.norm(net.op("Relu", net.conv("x", 8))), 6, kernel=1)))


def turned(net: NetBuilder, x: str, outputs: int, name: str) -> str:
    weight = net.op("Transpose", net.normal(f"{name}.weight", outputs, net.width[x]), perm=[1, 0])
    return net.op("Add", net.op("MatMul", x, weight, width=outputs), net.normal(f"{name}.bias", outputs), width=outputs)


def tokens(net: NetBuilder) -> Graph:
    x = net.op("Transpose", net.op("Reshape", net.conv("x", 8), net.integers(0, 8, 64)), perm=[0, 2, 1])
    x = turned(net, net.op("Tanh", turned(net, x, 32, "up")), 8, "down")
    return net.finish(net.linear(net.op("ReduceMean", x, axes=[1], keepdims=0), 5), input_shape=IMAGE)


@pytest.mark.parametrize(
    ("make", "operators"),
    [
        (wide_before_classifier, [["HardSwish"]]),
        (single_positions_after_a_window, [["Relu"], ["Tanh"]]),
        (spelled_activation, [["Sigmoid", "Mul"]]),
        (rows, [["Elu"], ["Relu"]]),
        (norm_behind_the_activation, [["Relu"]]),
        (tokens, [["Tanh"]]),
    ],
)
def test_an_activation_between_two_layers_that_merge_is_offered(
    make: Callable[[NetBuilder], Graph], operators: list[list[str]]
) -> None:
    graph = make(start(2))
    found = merges_of(graph)
    by_name = {node.name: node.op for node in graph.nodes}
    assert [[by_name[name] for name in block.nodes] for block in found] == operators
    for block in found:
        assert_merges(graph, block)


def two_windows(net: NetBuilder) -> str:
    return net.conv(net.op("Relu", net.conv("x", 8)), 8)


def bottleneck(net: NetBuilder) -> str:
    return net.conv(net.op("Relu", net.conv("x", 1, kernel=1)), 8, kernel=1)


def halving_between(net: NetBuilder) -> str:
    wide = net.op("Relu", net.conv("x", 8, kernel=1))
    return net.conv(net.op("Relu", net.conv(wide, 8, group=8, stride=2)), 4, kernel=1)


def read_twice(net: NetBuilder) -> str:
    x = net.op("Relu", net.conv("x", 8, kernel=1))
    return net.op("Concat", net.conv(x, 4, kernel=1), net.conv(x, 4), axis=1, width=8)


def read_before_the_activation(net: NetBuilder) -> str:
    x = net.conv("x", 8, kernel=1)
    return net.op("Concat", net.conv(net.op("Relu", x), 4, kernel=1), x, axis=1, width=12)


def shared_weight(net: NetBuilder) -> str:
    x = net.conv("x", 8, kernel=1)
    first = net.conv(net.op("Relu", x), 8, kernel=1, bias=False)
    weight = net.nodes[-1].input[1]
    return net.op("Conv", net.op("Abs", first), weight, width=8)


@pytest.mark.parametrize(
    "make", [two_windows, bottleneck, halving_between, read_twice, read_before_the_activation, shared_weight]
)
def test_where_the_layers_stay_two_nothing_is_offered(make: Callable[[NetBuilder], str]) -> None:
    net = start(3)
    assert not merges_of(head(net, net.op("MaxPool", make(net), kernel_shape=[3, 3])))


def test_an_output_between_stays() -> None:
    graph = inverted_residual()
    (found,) = merges_of(graph)
    for name in (found.instead, found.output):
        port = replace(graph.outputs[0], name=name, shape=("N", *graph.shapes[name][1:]))
        assert not merges_of(replace(graph, outputs=(*graph.outputs, port)))


def brute_force(graph: Graph) -> set[frozenset[str]]:
    """Find the activations whose removal ships a layer less, by removing each from the whole graph."""
    activations = [block for block in blocks(graph) if block.kind == "activation"]
    return {
        frozenset(one.nodes)
        for one in activations
        if layers_shipped(remove_blocks(graph, [one.name])) < layers_shipped(graph)
    }


def assert_complete(graph: Graph) -> None:
    """Compare with brute force; a layer that merges anyway may have done so with another one than was foreseen."""
    offered = blocks(graph)
    single = {frozenset(one.nodes) for one in offered if one.kind == "activation"}
    merges = [one for one in offered if one.kind == "merge"]
    found = {frozenset(one.nodes) for one in merges} & single
    assert found >= brute_force(graph)
    if layers_shipped(graph) == layers_of(graph):
        assert found == brute_force(graph)
        for block in merges:
            assert_merges(graph, block)


@pytest.mark.parametrize("net", NETWORKS)
def test_each_pattern_offers_exactly_what_merges(net: str) -> None:
    assert_complete(NETWORKS[net]())


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_a_generated_graph_offers_exactly_what_merges(graph: Graph) -> None:
    assert_complete(graph)


@pytest.mark.parametrize("make", [resnet20, resnet56])
def test_a_residual_network_of_padded_windows_has_none(make: Callable[[], torch.nn.Module]) -> None:
    with torch.random.fork_rng(devices=[]):
        assert not merges_of(capture(make().eval(), input_shape=(1, 3, 32, 32)))


def test_what_takes_too_long_to_compose_is_not_offered() -> None:
    graph = rows(start(2))
    assert len(merges_of(graph)) == 2
    huge = {
        name: np.broadcast_to(np.float32(0), [1 << 13] * array.ndim) if name.startswith("linear") else array
        for name, array in graph.weights.items()
    }
    shapes = {name: (1, 1 << 13) if len(shape) == 2 else shape for name, shape in graph.shapes.items()}
    assert not merges_of(replace(graph, weights=huge, shapes=shapes))
