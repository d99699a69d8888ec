"""What a refit does to norms and constants: whose statistics they have, and who may rewrite them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.network.module import from_torch, to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.refit import refit
from deploycompress.train.refit_settings import RefitSettings
from tests.build import random_plan, residual_net, start
from tests.train.test_refit import batches_of, cut, outputs_of, relative, value_of

ALL_ROWS = 10**6
SETTLING = 3  # of the images that give networks their statistics


class PreActivation(nn.Module):
    """Adds to a stream what a convolution makes of the stream's norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(torch.relu(self.norm(x)))  # type: ignore[no-any-return]  # torch's layers give Any


def residual_stream() -> nn.Module:
    stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    tail = [nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(stem, *(PreActivation(16) for _ in range(3)), *tail)


def decoder() -> nn.Module:
    parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for channels in (32, 16):
        parts += [nn.ConvTranspose2d(channels, 16, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(16, 4, 1))


def trained_statistics(network: nn.Module) -> Graph:
    """Capture a network of random weights whose norms know what they read."""
    torch.manual_seed(0)
    for part in network.modules():
        for parameter in part.parameters(recurse=False):
            uniform = torch.rand_like(parameter) + 0.5
            parameter.data = uniform if isinstance(part, nn.BatchNorm2d) else torch.randn_like(parameter) / 6
    recalibrate(network, batches_of(256, seed=SETTLING))
    return capture(network.eval(), input_shape=(1, 3, 8, 8))


def halves(graph: Graph) -> Plan:
    return Plan(keep={group.name: tuple(range(0, group.width, 2)) for group in trace_channels(graph).free_groups})


def test_norms_have_the_statistics_of_what_they_now_read() -> None:
    batches = batches_of(64)
    whole = to_torch(residual_net())
    recalibrate(whole, batches)
    graph = from_torch(whole)
    student, teacher, pairs = cut(graph, random_plan(trace_channels(graph), 0))
    refit(student, teacher, pairs, batches, settings=RefitSettings(rows=ALL_ROWS))
    fitted = outputs_of(student, batches[0][0])
    recalibrate(student, [(batches[0][0][[at for at in range(64) if at % 5 != 4]], batches[0][1])])
    assert relative(outputs_of(student, batches[0][0]), fitted) < 1e-2


@pytest.mark.parametrize("kind", ["stream", "decoder", "too large", "unpaired"])
def test_norms_that_no_fitted_layer_owns_get_the_statistics_of_what_they_now_read(kind: str) -> None:
    graph = trained_statistics(decoder() if kind == "decoder" else residual_stream())
    student, teacher, pairs = cut(graph, halves(graph))
    # the decoder's first norm has a layer that needs no fit: on the images of its own statistics, they stay right
    images = batches_of(256, seed=SETTLING if kind == "decoder" else 0)[0][0]
    known = pairs[:1] if kind == "unpaired" else pairs
    report = refit(
        student, teacher, known, [(part, part) for part in torch.split(images, [96, 160])],
        settings=RefitSettings(most_unknowns=60 if kind == "too large" else 8192),
    )  # fmt: skip
    assert sum("numbers, at most 60" in reason for reason in report.skipped.values()) == 3 * (kind == "too large")
    found = student.current_weights()
    recalibrate(student, [(images, images)])
    expected = student.current_weights()
    norms = [node for node in graph.nodes if node.op == "BatchNormalization"][kind == "decoder" :]
    assert len(norms) == (2 if kind == "decoder" else 4)
    for name in (name for norm in norms for name in norm.inputs[3:5]):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-4)
        assert np.abs(found[name] - graph.weights[name][::2]).max() > 1e-3, "the teacher's are no more"


@pytest.mark.parametrize("network", [residual_stream, decoder])
def test_a_refitted_student_answers_in_training_mode_as_in_evaluation_mode(network: Callable[[], nn.Module]) -> None:
    graph = trained_statistics(network())
    student, teacher, pairs = cut(graph, halves(graph))
    refit(student, teacher, pairs, batches_of(128, 128))
    unseen = batches_of(256, seed=1)[0][0]
    wanted = outputs_of(teacher, unseen)
    evaluation = outputs_of(student, unseen)
    training = outputs_of(student.train(), unseen)
    assert relative(training, evaluation) < 0.05
    assert relative(training, wanted) == pytest.approx(relative(evaluation, wanted), rel=0.05)


@pytest.mark.parametrize("network", [residual_stream, decoder])
def test_norms_before_which_nothing_has_changed_keep_their_statistics(network: Callable[[], nn.Module]) -> None:
    graph = trained_statistics(network())
    student, teacher, pairs = cut(graph, Plan())
    refit(student, teacher, pairs, batches_of(32))
    for name, array in student.current_weights().items():
        np.testing.assert_array_equal(array, graph.weights[name])


def test_a_norm_behind_a_layer_that_takes_over_a_block_gets_new_statistics() -> None:
    net = start(19)
    x = net.conv("x", 6)
    side = net.op("GlobalAveragePool", net.op("Relu", net.norm(x)))
    stream = net.op("Add", net.conv(x, 6, kernel=1), x)
    pooled = net.op("Add", net.op("GlobalAveragePool", net.conv(stream, 6)), side)
    graph = net.finish(net.linear(net.op("Flatten", pooled, axis=1), 5), input_shape=(3, 8, 8))
    block = next(block.name for block in blocks(graph) if block.output == stream)
    student, teacher, pairs = cut(graph, Plan(remove=(block,)))
    batches = batches_of(64)
    fit = refit(student, teacher, pairs, batches).layers[0]
    assert fit.kept, "the first layer adds what the block did"
    assert pairs[0].weight == fit.weight
    norm = next(node for node in student.source_graph.nodes if node.op == "BatchNormalization")
    read = value_of(student, norm.inputs[0], batches[0][0])
    found = student.current_weights()
    np.testing.assert_allclose(found[norm.inputs[3]], read.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[norm.inputs[4]], read.var(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_transposed_convolutions_are_named_as_left_alone() -> None:
    graph = trained_statistics(decoder())
    student, teacher, pairs = cut(graph, halves(graph))
    report = refit(student, teacher, pairs, batches_of(8))
    assert dict(report.skipped) == dict.fromkeys(("3.weight", "6.weight"), "transposed convolutions are not fitted")


class RowsOfImages(nn.Module):
    """A product over the columns of images, whose norm acts on another axis than its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.product, self.norm = nn.Linear(8, 3, bias=False), nn.BatchNorm2d(3)
        self.conv, self.head = nn.Conv2d(3, 8, (3, 2)), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(torch.relu(self.norm(self.product(x)))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]  # torch's layers give Any


@pytest.mark.parametrize("plan", [Plan(), Plan(keep={"conv": (0, 1, 2, 3, 4, 5)})])
def test_a_norm_over_another_axis_than_a_products_channels_is_not_its_norm(plan: Plan) -> None:
    graph = trained_statistics(RowsOfImages())
    student, teacher, pairs = cut(graph, plan)
    report = refit(student, teacher, pairs, batches_of(64))
    assert [layer.weight for layer in report.layers] == ["product.weight", "conv.weight", "head.weight"]
    assert max(layer.before for layer in report.layers[:2]) < 1e-5
    unseen = batches_of(16, seed=1)[0][0]
    assert value_of(student, pairs[1].student_output, unseen) == pytest.approx(
        value_of(teacher, pairs[1].teacher_output, unseen)[:, pairs[1].outputs], abs=1e-5
    )
    if not plan.keep:
        assert relative(outputs_of(student, unseen), outputs_of(teacher, unseen)) < 1e-6


def test_a_layer_is_not_fitted_to_what_lies_before_the_norm_that_now_follows_it() -> None:
    graph = trained_statistics(residual_stream())
    stem = graph.nodes[0]
    names = [block.name for block in blocks(graph) if block.kind == "residual"]
    student, teacher, pairs = cut(graph, Plan(remove=tuple(names)))
    assert [node.op for node in student.source_graph.nodes[:2]] == ["Conv", "BatchNormalization"]
    report = refit(student, teacher, pairs, batches_of(64), settings=RefitSettings(matches_stream=False))
    assert report.skipped[stem.inputs[1]].startswith("the teacher's same layer makes values of another form")
    np.testing.assert_array_equal(student.current_weights()[stem.inputs[1]], graph.weights[stem.inputs[1]])


def test_a_constant_that_two_layers_add_is_not_rewritten() -> None:
    net = start(17)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv("x", 12))), axis=1)
    shared = net.normal("shared", 12)
    for _ in range(2):
        product = net.op("MatMul", x, net.normal(f"p{len(net.nodes)}", 12, 12))
        x = net.op("Relu", net.op("Add", product, shared))
    graph = net.finish(net.linear(x, 5), input_shape=(3, 8, 8))
    student, teacher, pairs = cut(graph, Plan(keep={"conv0": tuple(range(6))}))
    unseen = batches_of(64, seed=1)[0][0]
    values = pairs[1].student_output, pairs[1].teacher_output
    report = refit(student, teacher, pairs, batches_of(64))
    fits = {layer.weight: layer for layer in report.layers}
    np.testing.assert_array_equal(student.current_weights()["shared"], graph.weights["shared"])
    assert fits[pairs[1].weight].kept
    error = relative(value_of(student, values[0], unseen), value_of(teacher, values[1], unseen))
    assert error < 2 * fits[pairs[1].weight].after, "the layer behind it did not undo the fit"
