"""Closed-form recovery against numpy's least squares on patches cut out by plain loops, and against identities."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.correspondence import layer_pairs
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.train.batches import Batch, evaluation_batches
from deploycompress.train.data import load_data
from deploycompress.train.layer_pair import LayerPair
from deploycompress.train.normalize import make_normalization, normalize
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.refit import refit
from deploycompress.train.refit_settings import RefitReport, RefitSettings
from tests.build import random_plan, residual_net, start
from tests.shared import CIFAR10, RESNET20, needs_shared
from tests.surgery.networks import head
from tools.cifar_resnet import resnet20

ALL_ROWS = 10**6
SETTLING = 3  # of the images that give networks their statistics


def batches_of(*sizes: int, seed: int = 0, channels: int = 3, size: int = 8) -> list[Batch]:
    rng = np.random.default_rng(seed)
    images = [rng.standard_normal((count, channels, size, size)).astype(np.float32) for count in sizes]
    return [(torch.from_numpy(one), torch.zeros(len(one), dtype=torch.int64)) for one in images]


def cut(graph: Graph, plan: Plan) -> tuple[GraphModule, GraphModule, tuple[LayerPair, ...]]:
    channels = trace_channels(graph)
    students = Students(graph, channels, blocks(graph, channels=channels))
    student = students.slim(graph, plan)
    return to_torch(student), to_torch(graph), layer_pairs(students, graph, plan, student)


def value_of(module: GraphModule, name: str, images: torch.Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        return module.observe([name], images)[1][name].double().numpy()


def patches(value: NDArray[np.float64], kernel: int, attributes: Mapping[str, Any]) -> NDArray[np.float64]:
    """Cut out what a convolution multiplies, one row per image and output place: [rows, C * k * k]."""
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    stride, spread = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)))
    high = (padded.shape[2] - spread[0] * (kernel - 1) - 1) // stride[0] + 1
    wide = (padded.shape[3] - spread[1] * (kernel - 1) - 1) // stride[1] + 1
    rows = []
    for image, y, x in itertools.product(padded, range(high), range(wide)):
        ys = [y * stride[0] + tap * spread[0] for tap in range(kernel)]
        xs = [x * stride[1] + tap * spread[1] for tap in range(kernel)]
        rows.append(image[:, ys][:, :, xs].reshape(-1))
    return np.stack(rows)


def by_place(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.moveaxis(value, 1, -1).reshape(-1, value.shape[1])


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1]},
        {"strides": [2, 1], "pads": [1, 0, 2, 1]},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        {"strides": [2, 2], "dilations": [1, 2]},
    ],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_new_kernel_is_the_one_of_least_squares(has_bias: bool, attributes: dict[str, Any], groups: int) -> None:
    net = start(5)
    x = net.op("Relu", net.conv("x", 8))
    names = [x, net.normal("second.weight", 6, 8 // groups, 3, 3)]
    names += [net.normal("second.bias", 6)] if has_bias else []
    graph = net.finish(
        net.op("Conv", *names, width=6, group=groups, kernel_shape=[3, 3], **attributes), input_shape=(3, 8, 8)
    )
    student, teacher, pairs = cut(graph, Plan(keep={"conv0": (0, 1, 6, 7) if groups == 1 else (0, 2)}))
    pair = pairs[1]
    batches = batches_of(4, 6)
    report = refit(student, teacher, [pair], batches, settings=RefitSettings(ridges=(1e-12,), rows=ALL_ROWS))
    assert report.layers[0].kept

    images = torch.cat([images for images, _ in batches])
    fitted, judged = images[[at for at in range(10) if at % 5 != 4]], images[[4, 9]]
    node = next(node for node in graph.nodes if "second.weight" in node.inputs)
    width = len(pair.inputs) // groups
    for group in range(groups):
        mine, filters = slice(group * width, (group + 1) * width), slice(group * 6 // groups, (group + 1) * 6 // groups)
        rows = patches(value_of(student, pair.student_input, fitted)[:, mine], 3, node.attributes)
        wanted = by_place(value_of(teacher, pair.teacher_output, fitted))[:, filters]
        if has_bias:
            rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
        solution = np.linalg.lstsq(rows, wanted)[0]
        weights = student.current_weights()
        kernel = weights["second.weight"][filters].reshape(6 // groups, -1)
        np.testing.assert_allclose(kernel, solution[: kernel.shape[1]].T, rtol=1e-3, atol=1e-5)
        if has_bias:
            np.testing.assert_allclose(weights["second.bias"][filters], solution[-1], rtol=1e-3, atol=1e-5)
    wanted = value_of(teacher, pair.teacher_output, judged)
    left = value_of(student, pair.student_output, judged) - wanted
    assert report.layers[0].after == pytest.approx(np.linalg.norm(left) / np.linalg.norm(wanted), rel=1e-4)


def test_errors_are_those_of_the_held_out_images_before_and_after() -> None:
    graph = residual_net()
    student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 0))
    batches = batches_of(10)
    judged = batches[0][0][[4, 9]]
    first = pairs[0]
    report = refit(student, teacher, [first], batches, settings=RefitSettings(matches_stream=False, rows=ALL_ROWS))
    assert report.layers[0].before < 1e-5, "the first layer reads the images: nothing is missing there"
    student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 0))
    first, second = pairs[:2]
    norms = [next(n.outputs[0] for n in g.nodes if n.op == "BatchNormalization" and n.inputs[0] == o)
             for g, o in ((student.source_graph, second.student_output), (graph, second.teacher_output))]  # fmt: skip

    def error() -> float:
        wanted = value_of(teacher, norms[1], judged)[:, second.outputs]
        return float(np.linalg.norm(value_of(student, norms[0], judged) - wanted) / np.linalg.norm(wanted))

    before = error()
    settings = RefitSettings(matches_stream=False, rows=ALL_ROWS)
    found = refit(student, teacher, [first, second], batches, settings=settings).layers[1]
    assert found.before == pytest.approx(before, rel=1e-4)
    assert found.after == pytest.approx(error(), rel=1e-4)
    assert found.kept
    assert found.after < found.before


def outputs_of(module: GraphModule, images: torch.Tensor) -> NDArray[np.float64]:
    with torch.no_grad():
        result = module(images)
    assert isinstance(result, torch.Tensor)
    return result.double().numpy()


def relative(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("has_norm", [True, False])
def test_cut_channels_that_are_combinations_of_kept_ones_are_recovered(has_norm: bool) -> None:
    net = start(7)
    x = net.conv("x", 6)
    mix = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    for name in ("conv0.weight", "conv0.bias"):
        kept = net.weights[name][:4]
        net.weights[name][4:] = np.einsum("ij,j...->i...", mix, kept)
    x = net.conv(x, 5, bias=not has_norm)
    graph = head(net, net.op("Relu", net.norm(x) if has_norm else x))
    student, teacher, pairs = cut(graph, Plan(keep={"conv0": (0, 1, 2, 3)}))
    unseen = batches_of(16, seed=1)[0][0]
    assert relative(outputs_of(student, unseen), outputs_of(teacher, unseen)) > 1e-2
    refit(student, teacher, pairs, batches_of(32), settings=RefitSettings(ridges=(1e-10,)))
    assert relative(outputs_of(student, unseen), outputs_of(teacher, unseen)) < 1e-5


def removed_block(*, has_activation: bool) -> tuple[Graph, Plan]:
    """A block that adds a linear map of what it reads, before an activation that hides it from the layers behind."""
    net = start(9)
    x = net.norm(net.conv("x", 6, bias=False))
    x = net.op("Relu", x) if has_activation else x
    x = net.op("Relu", net.op("Add", net.conv(x, 6, kernel=1), x))
    graph = head(net, net.op("Relu", net.conv(x, 6)))
    name = next(block.name for block in blocks(graph) if block.kind == "residual")
    return graph, Plan(remove=(name,))


@pytest.mark.parametrize("has_activation", [False, True])
def test_the_layer_before_a_removed_block_takes_over_what_it_added(has_activation: bool) -> None:
    graph, plan = removed_block(has_activation=has_activation)
    unseen = batches_of(16, seed=1)[0][0]
    found = {}
    for matches_stream in (True, False):
        student, teacher, pairs = cut(graph, plan)
        settings = RefitSettings(ridges=(1e-10,), matches_stream=matches_stream)
        refit(student, teacher, pairs, batches_of(32), settings=settings)
        reader = pairs[1]
        stream = value_of(student, reader.student_input, unseen), value_of(teacher, reader.teacher_input, unseen)
        found[matches_stream] = relative(*stream)
    if has_activation:
        assert found[True] < 0.8 * found[False]
    else:
        assert found[True] < 1e-5 < 1e-2 < found[False], "without an activation in between, the block is linear"


def test_what_the_stream_lacks_is_made_up_by_the_layer_that_adds_to_it_next() -> None:
    net = start(11)
    x = net.op("Relu", net.conv("x", 6))
    y = net.conv(net.op("Relu", net.conv(x, 6)), 6)
    graph = head(net, net.op("Relu", net.op("Add", y, x)))
    student, teacher, pairs = cut(graph, Plan())
    with torch.no_grad():
        dict(student.named_parameters())["conv0.bias"].add_(0.5)
    batches = batches_of(32)
    total = next(node.outputs[0] for node in graph.nodes if node.op == "Add")
    unseen = batches_of(16, seed=1)[0][0]
    before = relative(value_of(student, total, unseen), value_of(teacher, total, unseen))
    refit(student, teacher, pairs[2:3], batches)
    after = relative(value_of(student, total, unseen), value_of(teacher, total, unseen))
    assert after < 0.7 * before


def test_the_empty_plan_changes_nothing() -> None:
    student, teacher, pairs = cut(residual_net(), Plan())
    before = student.current_weights()
    report = refit(student, teacher, pairs, batches_of(8, 8))
    assert len(report.layers) == len(pairs) == 8
    assert all(layer.before < 1e-5 and not layer.kept for layer in report.layers)
    assert not report.skipped
    for name, array in student.current_weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_only_what_helps_on_held_out_images_stays() -> None:
    graph = residual_net()
    student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 1))
    before = student.current_weights()
    report = refit(student, teacher, pairs, batches_of(3), settings=RefitSettings(ridges=(1e-9,)))
    after = student.current_weights()
    assert {layer.kept for layer in report.layers} == {True, False}, "three images are too few for some layers"
    for layer in report.layers:
        assert layer.kept == (layer.after < layer.before)
        assert np.array_equal(before[layer.weight], after[layer.weight]) == (not layer.kept)


@pytest.mark.parametrize("kind", ["gemm", "matmul", "turned", "tokens"])
def test_products_are_fitted_with_their_bias(kind: str) -> None:
    net = start(13)
    x = net.op("Relu", net.conv("x", 8))
    if kind == "tokens":
        x = net.op("Transpose", net.op("Reshape", x, net.integers(0, 8, 64)), perm=[0, 2, 1])
    else:
        x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    net.normal("p.weight", *((8, 5) if kind in ("matmul", "tokens") else (5, 8)))
    net.normal("p.bias", 5)
    if kind == "gemm":
        y = net.op("Gemm", x, "p.weight", "p.bias", width=5, transB=1)
    else:
        matrix = net.op("Transpose", "p.weight", perm=[1, 0]) if kind == "turned" else "p.weight"
        y = net.op("Add", "p.bias", net.op("MatMul", x, matrix, width=5), width=5)
    graph = net.finish(y, input_shape=(3, 8, 8))
    student, teacher, pairs = cut(graph, Plan(keep={"conv0": (1, 2, 4, 5, 7)}))
    batches = batches_of(40)
    refit(student, teacher, pairs, batches, settings=RefitSettings(ridges=(1e-12,), rows=ALL_ROWS))
    images = batches[0][0][[at for at in range(40) if at % 5 != 4]]
    rows = value_of(student, pairs[1].student_input, images).reshape(-1, 5)
    solution = np.linalg.lstsq(
        np.concatenate([rows, np.ones((len(rows), 1))], axis=1), outputs_of(teacher, images).reshape(-1, 5)
    )[0]
    weights = student.current_weights()
    kernel = weights["p.weight"] if kind in ("matmul", "tokens") else weights["p.weight"].T
    np.testing.assert_allclose(kernel, solution[:5], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(weights["p.bias"], solution[5], rtol=1e-3, atol=1e-4)


def test_depthwise_layers_are_fitted_channel_by_channel() -> None:
    net = start(15)
    x = net.op("Elu", net.conv("x", 6))
    x = net.op("Elu", net.conv(x, 6))
    graph = head(net, net.op("Relu", net.depthwise(x)))
    student, teacher, pairs = cut(graph, Plan(keep={"conv0": (0, 1, 4), "conv2": (0, 2, 3, 5)}))
    assert pairs[2].inputs.tolist() == pairs[2].outputs.tolist() == [0, 2, 3, 5]
    refit(student, teacher, pairs[2:3], batches_of(10), settings=RefitSettings(ridges=(1e-12,), rows=ALL_ROWS))
    images = batches_of(10)[0][0][[at for at in range(10) if at % 5 != 4]]
    wanted = by_place(value_of(teacher, pairs[2].teacher_output, images))
    for position, channel in enumerate(pairs[2].outputs):
        value = value_of(student, pairs[2].student_input, images)[:, position : position + 1]
        rows = patches(value, 3, {"pads": [1, 1, 1, 1]})
        solution = np.linalg.lstsq(np.concatenate([rows, np.ones((len(rows), 1))], axis=1), wanted[:, channel])[0]
        kernel = student.current_weights()[pairs[2].weight][position].reshape(-1)
        np.testing.assert_allclose(kernel, solution[:9], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sizes", [(2,), (1, 1), (3, 2)])
def test_few_images_work(sizes: tuple[int, ...]) -> None:
    graph = residual_net()
    student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 2))
    report = refit(student, teacher, pairs, batches_of(*sizes))
    assert all(np.isfinite(layer.after) for layer in report.layers)
    assert np.isfinite(outputs_of(student, batches_of(4)[0][0])).all()


def test_the_same_seed_gives_the_same_weights_however_the_images_are_batched() -> None:
    graph = residual_net()
    found = []
    for sizes in ((12,), (12,), (5, 7)):
        student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 2))
        images = torch.split(batches_of(12)[0][0], list(sizes))
        refit(student, teacher, pairs, [(part, part[:, 0, 0, 0]) for part in images])
        found.append(outputs_of(student, batches_of(4)[0][0]))
    np.testing.assert_array_equal(found[0], found[1])
    assert relative(found[2], found[0]) < 1e-3


def settle(graph: Graph) -> tuple[GraphModule, GraphModule, tuple[LayerPair, ...]]:
    return cut(graph, random_plan(trace_channels(graph), 2))


@needs_shared
@pytest.mark.slow
def test_resnet20_without_two_blocks_answers_more_like_its_teacher_than_after_recalibration() -> None:
    network = resnet20()
    network.load_state_dict(torch.load(RESNET20, weights_only=True))
    graph = capture(network.eval(), input_shape=(1, 3, 32, 32))
    data = load_data(str(CIFAR10 / "train-0.npz"))
    normalization = make_normalization(None, data)
    batches = [(normalize(pixels, normalization), labels) for pixels, labels in evaluation_batches(
        data.take(np.arange(1024)), batch_size=128)]  # fmt: skip
    plan = Plan(remove=("layer1.1.conv1/residual", "layer2.2.conv1/residual"))
    found = {}
    for name in ("recalibrated", "refit"):
        student, teacher, pairs = cut(graph, plan)
        if name == "refit":
            refit(student, teacher, pairs, batches[:4])
        else:
            recalibrate(student, batches[:4])
        unseen = torch.cat([images for images, _ in batches[4:]])
        agrees = outputs_of(student, unseen).argmax(axis=1) == outputs_of(teacher, unseen).argmax(axis=1)
        found[name] = float(agrees.mean())
    assert found["refit"] > found["recalibrated"] + 0.05


def test_a_report_says_how_long_it_took() -> None:
    report = refit(*settle(residual_net()), batches_of(4))
    assert isinstance(report, RefitReport)
    assert report.seconds > 0
