"""Latency by node: real kernels of ONNX Runtime, given to the nodes they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.measuring import Meter
from deploycompress.measuring.kernels import Kernel, nodes_of_kernels
from deploycompress.measuring.node_times import NodeTimes
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from tests.build import residual_net, start
from tests.measuring.networks import model_of

QUIET_OPS = {"ReorderInput", "ReorderOutput"}


def profile_at(level: str) -> Profile:
    shipped = load_profile(Path(__file__).parents[2] / "profiles" / "x86.toml")
    return shipped.model_copy(update={"runtime": shipped.runtime.model_copy(update={"graph_optimization": level})})


def times_of(graph: Graph, level: str = "all") -> NodeTimes:
    with Meter(profile_at(level)) as meter:
        return meter.node_times(graph)


def mobile_net() -> Graph:
    """Build what today's small networks are made of: depthwise, gates, hard swish, SiLU, option A, linear head."""
    net = start(3)
    x = net.op("HardSwish", net.norm(net.conv("x", 16, bias=False)))
    x = net.op("HardSwish", net.norm(net.depthwise(x)))
    x = net.squeeze_excite(x, 8)
    y = net.norm(net.conv(x, 32, kernel=1, bias=False))
    y = net.op("Mul", y, net.op("Sigmoid", y))
    x = net.op("Relu", net.op("Add", net.norm(net.conv(y, 16, bias=False)), x))
    x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(net.op("Relu", net.linear(x, 32)), 4), input_shape=(3, 24, 24))


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
@pytest.mark.parametrize("build", [residual_net, mobile_net])
def test_shares_and_other_sum_to_one_and_no_node_counts_twice(build: Callable[[], Graph], level: str) -> None:
    graph = build()
    times = times_of(graph, level)
    assert sum(times.shares.values()) + sum(times.other.values()) == pytest.approx(1)
    named = [name for kernel in times.kernels for name in kernel.nodes]
    assert len(named) == len(set(named))
    assert set(named) <= {node.name for node in graph.nodes}
    assert all(len(kernel.microseconds) == times.runs >= 11 for kernel in times.kernels)
    assert times.evidence in (Evidence.MEASURED, Evidence.PROXY)


def test_a_graph_that_is_not_rewritten_has_a_kernel_a_node() -> None:
    graph = residual_net()
    times = times_of(graph, "disabled")
    assert [kernel.nodes for kernel in times.kernels] == [(kernel.name,) for kernel in times.kernels]
    assert {kernel.name for kernel in times.kernels} == {node.name for node in graph.nodes}
    assert not times.other
    assert not times.fused_into


@pytest.mark.parametrize("level", ["extended", "all"])
@pytest.mark.parametrize("build", [residual_net, mobile_net])
def test_every_norm_runs_in_the_kernel_of_its_own_convolution(build: Callable[[], Graph], level: str) -> None:
    graph = build()
    times, producers = times_of(graph, level), graph.producers()
    norms = [node for node in graph.nodes if node.op == "BatchNormalization"]
    assert {node.name: times.fused_into[node.name] for node in norms} == {
        node.name: producers[node.inputs[0]].name for node in norms
    }


@pytest.mark.parametrize("build", [residual_net, mobile_net])
def test_every_node_is_placed_and_only_changes_of_layout_are_other(build: Callable[[], Graph]) -> None:
    graph = build()
    times = times_of(graph)
    assert set(times.other) <= QUIET_OPS
    assert set(times.shares) | set(times.fused_into) == {node.name for node in graph.nodes}
    heavy = {node.name for node in graph.nodes if node.op in ("Conv", "Gemm")}
    assert heavy <= set(times.shares)


def test_a_matrix_product_of_three_axes_keeps_its_time() -> None:
    net = start()
    hidden = net.op("MatMul", "x", net.normal("first", 32, 512))
    hidden = net.op("Relu", net.op("Add", hidden, net.normal("bias", 512)))
    graph = net.finish(net.op("MatMul", hidden, net.normal("second", 512, 32)), input_shape=(64, 32))
    times = times_of(graph)
    products = [node.name for node in graph.nodes if node.op == "MatMul"]
    assert sum(times.shares[name] for name in products) > 0.5
    assert times.fused_into["Add_1"] == products[0]


def test_the_larger_layer_has_the_larger_share() -> None:
    net = start()
    small = net.conv("x", 16)
    graph = net.finish(net.conv(net.conv(small, 128), 128), input_shape=(3, 32, 32))
    first, second, third = (times_of(graph).shares[node.name] for node in graph.nodes)
    assert first < second < third


def test_what_control_flow_runs_inside_counts_once() -> None:
    value = helper.make_tensor_value_info
    state = [value(name, TensorProto.FLOAT, None) for name in ("state", "next")]
    go, still = value("go", TensorProto.BOOL, []), value("still", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Tanh", ["state"], ["next"], name="inner"),
            helper.make_node("Identity", ["go"], ["still"], name="again"),
        ],
        "body",
        [value("step", TensorProto.INT64, []), go, state[0]],
        [still, state[1]],
    )
    weights = {"trips": np.array(50, np.int64), "yes": np.array(True)}
    nodes = [
        helper.make_node("Loop", ["trips", "yes", "x"], ["looped"], name="outer", body=body),
        helper.make_node("Relu", ["looped"], ["y"], name="last"),
    ]
    times = times_of(graph_from_onnx(model_of(nodes, weights, [1, 4096], [1, 4096])))
    assert {kernel.name for kernel in times.kernels} == {"outer", "last"}
    assert times.shares["outer"] > 0.9


def test_a_kernel_whose_origin_is_not_certain_is_nobodys() -> None:
    graph = residual_net()
    conv = graph.nodes[0]
    unknown = Kernel(name="Magic_1", op="Magic", inputs=("nowhere",), outputs=("elsewhere",))
    open_cone = Kernel(name="Magic_2", op="Magic", inputs=("nowhere",), outputs=(graph.nodes[5].outputs[0],))
    wrong_op = Kernel(name=conv.name, op="Softmax", inputs=("nowhere",), outputs=("elsewhere2",))
    assert nodes_of_kernels(graph, (unknown, open_cone, wrong_op)) == {"Magic_1": (), "Magic_2": (), conv.name: ()}


def test_two_kernels_that_claim_one_node_get_neither() -> None:
    graph = residual_net()
    first, second = graph.nodes[:2]
    fused = Kernel(name="fused", op="Conv", inputs=first.inputs, outputs=second.outputs)
    alone = Kernel(name=first.name, op="Conv", inputs=first.inputs, outputs=first.outputs)
    assert nodes_of_kernels(graph, (fused,)) == {"fused": (first.name, second.name)}
    assert nodes_of_kernels(graph, (fused, alone)) == {"fused": (), first.name: ()}


def test_kernels_of_one_name_are_nobodys() -> None:
    graph = residual_net()
    first = graph.nodes[0]
    twice = Kernel(name=first.name, op="Conv", inputs=first.inputs, outputs=first.outputs)
    assert nodes_of_kernels(graph, (twice, twice)) == {first.name: ()}
