"""Pairs of layers: the positions found are those whose weights the student has."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.correspondence import _along, _numbered, layer_pairs
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.train.layer_pair import LayerPair
from tests.build import random_plan, start
from tests.surgery.networks import head
from tools.cifar_resnet import resnet20


def students_of(graph: Graph) -> Students:
    channels = trace_channels(graph)
    return Students(graph, channels, blocks(graph, channels=channels))


def pairs_of(graph: Graph, plan: Plan) -> tuple[Graph, tuple[LayerPair, ...]]:
    students = students_of(graph)
    student = students.slim(graph, plan)
    return student, layer_pairs(students, graph, plan, student)


@pytest.fixture(scope="module")
def teacher() -> Graph:
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        return capture(resnet20().eval(), input_shape=(1, 3, 32, 32))


def test_the_students_kernels_are_the_teachers_at_the_positions_found(teacher: Graph) -> None:
    plan = Plan(
        remove=("layer2.1.conv1/residual",),
        keep={"layer1.0.conv1": (1, 2, 7), "layer3.0.conv2": tuple(range(0, 32, 3)), "layer2.0.conv1": (0, 31)},
    )
    student, pairs = pairs_of(teacher, plan)
    assert [pair.weight for pair in pairs] == [node.inputs[1] for node in student.nodes if node.op in ("Conv", "Gemm")]
    for pair in pairs:
        expected = teacher.weights[pair.weight][np.ix_(pair.outputs, pair.inputs)]
        np.testing.assert_array_equal(student.weights[pair.weight], expected)
    assert {pair.weight: pair.outputs.tolist() for pair in pairs}["layer1.0.conv1.weight"] == [1, 2, 7]


def test_values_are_those_that_the_layers_read_and_make(teacher: Graph) -> None:
    student, pairs = pairs_of(teacher, Plan(remove=("layer1.0.conv1/residual",), keep={"layer1.1.conv1": (3, 4)}))
    for graph, side in ((teacher, "teacher"), (student, "student")):
        of_weight = {node.input(1): node for node in graph.nodes}
        for pair in pairs:
            node = of_weight[pair.weight]
            assert getattr(pair, f"{side}_input") == node.inputs[0]
            assert getattr(pair, f"{side}_output") == node.outputs[0]


def test_without_a_plan_every_channel_is_itself(teacher: Graph) -> None:
    _, pairs = pairs_of(teacher, Plan())
    for pair in pairs:
        shape = teacher.weights[pair.weight].shape
        np.testing.assert_array_equal(pair.outputs, np.arange(shape[0]))
        np.testing.assert_array_equal(pair.inputs, np.arange(shape[1]))


def grouped() -> Graph:
    net = start(3)
    x = net.op("Relu", net.conv("x", 8))
    x = net.op("Relu", net.conv(x, 12, group=4))
    x = net.op("Relu", net.depthwise(x, 2))
    return head(net, x)


@pytest.mark.parametrize("seed", range(6))
def test_inputs_of_grouped_layers_count_over_all_groups(seed: int) -> None:
    graph = grouped()
    plan = random_plan(trace_channels(graph), seed, share=0.6)
    student, pairs = pairs_of(graph, plan)
    groups = {node.inputs[1]: int(node.attributes.get("group", 1)) for node in graph.nodes if node.op == "Conv"}
    left = {node.inputs[1]: int(node.attributes.get("group", 1)) for node in student.nodes if node.op == "Conv"}
    assert len(pairs) == 4
    makers = {pair.student_output: pair for pair in pairs}
    relu = {node.outputs[0]: node.inputs[0] for node in student.nodes if node.op == "Relu"}
    for pair in pairs:
        kernel, old = student.weights[pair.weight], graph.weights[pair.weight]
        assert len(pair.outputs) == kernel.shape[0]
        if pair.weight in groups:
            assert len(pair.inputs) == kernel.shape[1] * left[pair.weight]
            if pair.student_input in relu:
                np.testing.assert_array_equal(pair.inputs, makers[relu[pair.student_input]].outputs)
            within = pair.inputs.reshape(left[pair.weight], -1) % old.shape[1]
            filters = pair.outputs.reshape(left[pair.weight], -1)
            expected = [old[np.ix_(one, some)] for one, some in zip(filters, within, strict=True)]
            np.testing.assert_array_equal(kernel, np.concatenate(expected))


def test_shrunk_kernels_keep_their_channels(teacher: Graph) -> None:
    plan = Plan(keep={"layer1.0.conv1": (0, 5)}, kernels={"layer1.0.conv1": 1, "layer1.0.conv2": 1})
    student, pairs = pairs_of(teacher, plan)
    by_name = {pair.weight: pair for pair in pairs}
    for name in ("layer1.0.conv1.weight", "layer1.0.conv2.weight"):
        pair = by_name[name]
        expected = teacher.weights[name][np.ix_(pair.outputs, pair.inputs)][:, :, 1:2, 1:2]
        np.testing.assert_array_equal(student.weights[name], expected)


def test_a_kernel_that_two_layers_read_is_left_out() -> None:
    net = start(1)
    x = net.op("Relu", net.conv("x", 6))
    shared = net.normal("shared", 6, 6, 3, 3)
    for _ in range(2):
        x = net.op("Relu", net.op("Conv", x, shared, width=6, pads=[1] * 4, kernel_shape=[3, 3]))
    _, pairs = pairs_of(head(net, x), Plan())
    assert "shared" not in {pair.weight for pair in pairs}
    assert len(pairs) == 2


def test_products_are_found_however_their_matrix_lies() -> None:
    net = start(2)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv("x", 6))), axis=1)
    x = net.op("Gemm", x, net.normal("plain", 6, 7), net.normal("plain.bias", 7), width=7)
    x = net.op("MatMul", net.op("Relu", x), net.normal("right", 7, 8), width=8)
    turned = net.op("Transpose", net.normal("turned", 5, 8), perm=[1, 0])
    graph = net.finish(net.op("MatMul", net.op("Relu", x), turned, width=5), input_shape=(3, 8, 8))
    keep = {group.name: (0, 2, 5) for group in trace_channels(graph).free_groups}
    student, pairs = pairs_of(graph, Plan(keep=keep))
    assert [pair.weight for pair in pairs] == ["conv0.weight", "plain", "right", "turned"]
    for pair in pairs[1:3]:
        expected = graph.weights[pair.weight][np.ix_(pair.inputs, pair.outputs)]
        np.testing.assert_array_equal(student.weights[pair.weight], expected)
    last = graph.weights["turned"][np.ix_(pairs[3].outputs, pairs[3].inputs)]
    np.testing.assert_array_equal(student.weights["turned"], last)


def test_finding_positions_takes_little_room_beside_the_largest_kernel() -> None:
    """Six kernels of one size and their float64 positions, for both axes, would be 24 times one of them."""
    net = start(4)
    x = net.op("Relu", net.conv("x", 128))
    for _ in range(6):
        x = net.op("Relu", net.conv(x, 128))
    graph = head(net, x)
    students = students_of(graph)
    plan = Plan(keep={group.name: tuple(range(1, 128)) for group in trace_channels(graph).free_groups})
    student = students.slim(graph, plan)
    tracemalloc.start()
    try:
        pairs = layer_pairs(students, graph, plan, student)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(pairs) == 8
    assert all(pair.outputs.tolist() == list(range(1, 128)) for pair in pairs[:-1])
    assert peak < 2 * max(weight.nbytes for weight in graph.weights.values())


@pytest.mark.parametrize("size", [2**24, 2**24 + 2])
def test_positions_are_exact_in_long_axes(size: int) -> None:
    found = _along(_numbered((size, 1), 0), 0)
    assert found[-3:].tolist() == [size - 3, size - 2, size - 1]
