"""Each rule: what it cuts equals the masked network, and what it must not cut is named."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from deploycompress.channels.trace import channel_groups, trace_channels
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.plan import Plan
from deploycompress.surgery.oracle import check_plan, random_inputs, run_graph
from deploycompress.surgery.slim import slim
from tests.build import NetBuilder, random_plan, start
from tests.layers import LAYERS, attention, permute, turned


def closed(net: NetBuilder, x: str) -> Graph:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv(x, 5))), axis=1)
    return net.finish(net.linear(pooled, 3), input_shape=(3, 16, 16))


def free_widths(graph: Graph) -> list[int]:
    return sorted(group.width for group in channel_groups(graph) if not group.frozen)


def reasons(graph: Graph) -> str:
    return "; ".join(group.why for group in channel_groups(graph))


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_every_layer_cuts_like_the_oracle(kind: str) -> None:
    for number, width in ((2, 8), (3, 3), (4, 8)):
        net = start(number)
        graph = closed(net, LAYERS[kind](net, net.conv("x", width), number))
        channels = trace_channels(graph)
        plan = random_plan(channels, number)
        assert plan.keep
        assert check_plan(graph, plan, channels=channels).relative <= 1e-5
        student = slim(graph, plan, channels=channels)
        assert graph_from_onnx(student.to_onnx()).shapes == dict(student.shapes)


def test_picked_channels_are_renumbered() -> None:
    net = start(1)
    graph = closed(net, permute(net, net.conv("x", 4), 0))
    order = next(array for name, array in graph.weights.items() if name.startswith("ints"))
    student = slim(graph, Plan(keep={"conv0": (1, 3)}))
    picked = next(array for name, array in student.weights.items() if name.startswith("ints"))
    assert [(1, 3)[index] for index in picked] == [channel for channel in order if channel in (1, 3)]


def test_layer_norm_is_over_the_channels_that_stay() -> None:
    net = start(2)
    x = net.conv("x", 6)
    scale, shift = net.normal("ln.weight", 6), net.normal("ln.bias", 6)
    normal = net.op("LayerNormalization", net.op("Transpose", x, perm=[0, 2, 3, 1]), scale, shift, axis=-1)
    graph = closed(net, net.op("Transpose", normal, perm=[0, 3, 1, 2]))
    kept = (0, 2, 5)
    student = slim(graph, Plan(keep={"conv0": kept}))
    assert np.array_equal(student.weights["ln.weight"], graph.weights["ln.weight"][list(kept)])
    inside = _with_output(student, normal)
    inputs = random_inputs(graph, seed=0)
    before = run_graph(_with_output(graph, x), inputs)[0][:, list(kept)].transpose(0, 2, 3, 1)
    centred = before - before.mean(-1, keepdims=True)
    expected = centred / np.sqrt(before.var(-1, keepdims=True) + 1e-5)
    expected = expected * graph.weights["ln.weight"][list(kept)] + graph.weights["ln.bias"][list(kept)]
    assert np.allclose(run_graph(inside, inputs)[0], expected, atol=1e-4)


def _with_output(graph: Graph, tensor: str) -> Graph:
    model = graph.to_onnx()
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return graph_from_onnx(model)


def test_attention_shrinks_the_stream_and_the_width_of_its_heads() -> None:
    net = start(3)
    graph = closed(net, attention(net, net.conv("x", 4), 2))
    groups = {group.name: group for group in channel_groups(graph) if not group.frozen}
    stream, heads = groups["attention1.embed"], groups["attention1.qkv"]
    assert stream.width == 6
    assert {"attention1.token", "attention1.positions"} <= {tensor for tensor, _ in stream.members}
    assert heads.width == 5
    student = slim(graph, Plan(keep={"attention1.qkv": (0, 3)}))
    assert student.weights["attention1.qkv.weight"].shape == (3 * 2 * 2, 6)


@pytest.mark.parametrize(("groups", "width"), [(1, 8), (2, 4), (4, 4), (8, 8)])
def test_grouped_convolutions_lose_whole_groups_or_the_same_place_in_each(groups: int, width: int) -> None:
    net = start(4)
    graph = closed(net, net.conv(net.conv("x", 8), 8, group=groups))
    assert width in free_widths(graph)
    channels = trace_channels(graph)
    student = slim(graph, random_plan(channels, 0), channels=channels)
    group = next(node.attributes["group"] for node in student.nodes if node.inputs[1] == "conv1.weight")
    assert group == (groups // 2 if groups >= 4 else groups)


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_recurrent_operators_freeze_and_are_named(operator: str) -> None:
    net = start(5)
    rows = net.op("Transpose", net.op("GlobalAveragePool", net.conv("x", 4)), perm=[2, 0, 1, 3])
    rows = net.op("Squeeze", rows, net.integers(3))
    gates = {"LSTM": 4, "GRU": 3}[operator]
    weights = net.normal("w", 1, gates * 2, 4), net.normal("r", 1, gates * 2, 2)
    state = net.op(operator, rows, *weights, hidden_size=2, outputs=2, width=2)
    last = net.op("Squeeze", state.replace("_0", "_1"), net.integers(0), width=2)
    assert f"operator {operator}" in reasons(net.finish(net.linear(last, 3), input_shape=(3, 8, 8)))


def test_control_flow_freezes_what_enters_and_what_leaves_it() -> None:
    net = start(6)
    x, outside = net.conv("x", 4), net.conv("x", 4)
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Add", [x, other], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
        )
        for name, other in (("then", x), ("else", outside))
    }
    mean = net.op("ReduceMean", "x", keepdims=0)
    chosen = net.op("If", net.op("Greater", mean, net.weight("zero", np.zeros((), np.float32))), width=4, **branches)
    graph = closed(net, net.op("Relu", chosen))
    frozen = {group.name: group.why for group in channel_groups(graph) if group.frozen}
    assert "operator If" in frozen["conv0"]
    assert "operator If" in frozen["conv1"]
    assert check_plan(graph, random_plan(trace_channels(graph), 0)).relative <= 1e-5


def test_weights_shared_through_a_transpose_are_cut_alike() -> None:
    net = start(7)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv("x", 6)), axis=1)
    weight = turned(net, "tied.weight", 4, 6)
    hidden = net.op("Relu", net.op("MatMul", x, weight, width=4))
    back = net.op("MatMul", hidden, "tied.weight", width=6)
    graph = net.finish(net.linear(back, 3), input_shape=(3, 8, 8))
    channels = trace_channels(graph)
    assert sorted(group.width for group in channels.free_groups) == [4, 6]
    for seed in range(4):
        assert check_plan(graph, random_plan(channels, seed), channels=channels).relative <= 1e-5


def test_class_token_repeated_for_a_batch_is_recounted() -> None:
    net = start(8)
    flat = net.op("Transpose", net.op("Reshape", net.conv("x", 6), net.integers(0, 6, -1)), perm=[0, 2, 1])
    batch = net.op("Shape", "x", start=0, end=1)
    sizes = net.op("Concat", batch, net.integers(1, 6), axis=0)
    token = net.op("Expand", net.normal("token", 1, 1, 6), sizes, width=6)
    stream = net.op("Concat", token, flat, axis=1, width=6)
    graph = net.finish(net.op("MatMul", stream, net.normal("head", 6, 3)), input_shape=(3, 8, 8))
    assert free_widths(graph) == [6]
    channels = trace_channels(graph)
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= 1e-5
    assert slim(graph, random_plan(channels, 0)).weights["token"].shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda net, x: net.op("Softmax", x, axis=1), "mixes the channels"),
        (lambda net, x: net.op("ReduceMax", x, axes=[1], keepdims=1, width=1), "reduces over the channels"),
        (lambda net, x: net.op("Slice", x, net.integers(0), net.integers(8), net.integers(1), net.integers(2)), "2th"),
        (lambda net, x: net.op("Mul", x, net.op("Transpose", x, perm=[0, 2, 1, 3])), "different axes"),
        (lambda net, x: net.op("CumSum", x, net.weight("one", np.asarray(1, np.int64))), "mixes the channels"),
    ],
)
def test_what_tells_channels_apart_freezes_them(layer: object, why: str) -> None:
    net = start(9)
    made = layer(net, net.conv("x", 16))  # type: ignore[operator]  # pytest hands over any of the lambdas
    assert why in reasons(closed(net, made))


def test_no_plan_can_empty_a_part_of_a_split() -> None:
    net = start(10)
    parts = net.op("Split", net.conv("x", 8), net.integers(4, 4), outputs=2, axis=1, width=4)
    pooled = net.op("MaxPool", parts, kernel_shape=[3, 3], pads=[1] * 4, width=4)
    mean = net.op("ReduceMean", parts.replace("_0", "_1"), axes=[1], keepdims=1, width=1)
    graph = closed(net, net.op("Mul", pooled, mean))
    channels = trace_channels(graph)
    assert [group.width for group in channels.free_groups if group.name.startswith("conv0")] == [4, 4]
    narrowest = Plan(keep={group.name: (group.width - 1,) for group in channels.free_groups})
    assert check_plan(graph, narrowest, channels=channels).relative <= 1e-5


def _pool_places(net: NetBuilder, x: str) -> str:
    pooled = net.op("MaxPool", x, outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    return net.op("Mul", pooled, net.op("Cast", pooled.replace("_0", "_1"), to=1))


def _computed_scale(net: NetBuilder, x: str) -> str:
    mean = net.op("ReduceMean", "x", axes=[0, 2, 3], keepdims=0, width=3)
    scale = net.op("Reshape", net.linear(net.op("Reshape", mean, net.integers(1, 3), width=3), 16), net.integers(16))
    return net.op("LayerNormalization", x, scale, axis=-1, width=net.width[x])


def _weight_and_operand(net: NetBuilder, x: str) -> str:
    weight = net.weight("w", net.rng.uniform(1, 2, (4, 4)).astype(np.float32))
    last = net.op("MatMul", net.op("Transpose", x, perm=[0, 2, 3, 1]), weight)
    divisor = net.op("Slice", weight, net.integers(0), net.integers(1), net.integers(0))
    return net.op("Transpose", net.op("Div", last, net.op("Identity", divisor)), perm=[0, 3, 1, 2])


@pytest.mark.parametrize("layer", [_pool_places, _computed_scale, _weight_and_operand])
def test_what_reads_more_than_a_rule_follows_is_never_cut_apart(layer: object) -> None:
    net = start(11)
    graph = closed(net, layer(net, net.conv("x", 4)))  # type: ignore[operator]  # pytest hands over any of them
    channels = trace_channels(graph)
    for seed in range(4):
        assert check_plan(graph, random_plan(channels, seed, 0.25), channels=channels).relative <= 1e-5


def test_second_output_that_is_read_freezes() -> None:
    net = start(12)
    assert "gives out" in reasons(closed(net, _pool_places(net, net.conv("x", 4))))


def test_layer_norm_over_space_with_a_scale_for_each_channel() -> None:
    net = start(13)
    x = net.conv("x", 4)
    graph = closed(net, net.op("LayerNormalization", x, net.normal("ln.weight", 4, 16, 16), axis=-1))
    channels = trace_channels(graph)
    assert 4 in [group.width for group in channels.free_groups]
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= 1e-5


def test_instance_norm_of_channels_merged_with_the_batch_keeps_each_channels_statistics() -> None:
    net = start(14)
    merged = net.op("Reshape", net.conv("x", 4), net.integers(-1, 1, 16, 16), width=1)
    one, zero = net.weight("one", np.ones(1, np.float32)), net.weight("zero", np.zeros(1, np.float32))
    normal = net.op("InstanceNormalization", merged, one, zero, epsilon=0.1)
    graph = closed(net, net.op("Reshape", normal, net.integers(-1, 4, 16, 16), width=4))
    channels = trace_channels(graph)
    assert 4 in [group.width for group in channels.free_groups]
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= 1e-5


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_the_oracle_proves_other_number_formats(kind: int) -> None:
    net = start(15)
    x = net.op("Transpose", net.conv("x", 6), perm=[0, 2, 3, 1])
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    x = net.op("Cast", x, to=kind)
    scale = net.weight("ln.weight", net.rng.uniform(1, 2, 6).astype(dtype))
    x = net.op("LayerNormalization", x, scale, net.weight("ln.bias", np.zeros(6, dtype)), axis=-1)
    x = net.op("Mul", x, net.op("ReduceMean", x, axes=[3], keepdims=1))
    graph = closed(net, net.op("Transpose", net.op("Cast", x, to=1), perm=[0, 3, 1, 2]))
    channels = trace_channels(graph)
    assert len([group for group in channels.free_groups if group.width > 1]) == 2
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= (
        1e-2 if dtype.itemsize == 2 else 1e-5
    )


@pytest.mark.parametrize("equation", ["nc...,cd->nd...", "...chw,cd->...dhw", "zcyx,cd->zdyx"])
def test_einsums_of_any_spelling(equation: str) -> None:
    net = start(16)
    y = net.op("Einsum", net.conv("x", 6), net.normal("w", 6, 5), equation=equation, width=5)
    graph = closed(net, y)
    channels = trace_channels(graph)
    assert 6 in [group.width for group in channels.free_groups]
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= 1e-5
