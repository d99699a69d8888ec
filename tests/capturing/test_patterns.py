"""Patterns that whole families of networks are made of, each in a network as short as it can be."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from deploycompress.capturing.capture import capture
from deploycompress.capturing.findings import missing_share
from deploycompress.errors import ModelError, UsageError
from deploycompress.graph import UNKNOWN_SIZE, Graph
from deploycompress.network.module import to_torch
from tests.capturing.build import exported_onnx

IMAGE = (1, 3, 8, 8)


def run(graph: Graph, *inputs: Tensor) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])
    feeds = {port.name: x.numpy() for port, x in zip(graph.inputs, inputs, strict=True)}
    return [np.asarray(result) for result in session.run(None, feeds)]


def images(samples: int, *shape: int) -> Tensor:
    return torch.randn((samples, *(shape or IMAGE[1:])), generator=torch.Generator().manual_seed(3))


def assert_same(graph: Graph, module: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        result = module.eval()(*inputs)
    expected = [result] if isinstance(result, Tensor) else list(result)
    for right, found in zip(expected, run(graph, *inputs), strict=True):
        assert found.shape == tuple(right.shape)
        assert np.max(np.abs(found - right.numpy())) <= 1e-4 * np.max(np.abs(right.numpy()))


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


class Windows(nn.Module):
    """Windows join the batch, as in Swin: rolled, attended to, and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = torch.roll(x, (-2, -2), (2, 3)).permute(0, 2, 3, 1)
        x = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        mask = x.new_zeros((h, w))
        mask[4:] = 1.0
        mask = mask.view(h // 4, 4, w // 4, 4).permute(0, 2, 1, 3).reshape(4, 16)
        y = self.mix(x)
        scores = y @ y.transpose(1, 2)
        scores = scores.view(n, 4, 16, 16) + mask[:, None]
        y = scores.view(-1, 16, 16).softmax(-1) @ y
        image: Tensor = y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return image


def test_windows_that_join_the_batch_have_constant_sizes() -> None:
    net = Windows()
    graph = capture(net, input_shape=IMAGE)
    assert not {"Shape", "Gather", "Unsqueeze", "Cast"} & set(ops(graph))
    assert_same(graph, net, images(5))


def test_windows_of_a_model_exported_with_one_image_are_freed() -> None:
    net = Windows()
    assert_same(capture(exported_onnx(net, dynamic=())), net, images(5))


def test_turned_weight_keeps_its_name_and_trains() -> None:
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 5))
    graph = capture(net, input_shape=IMAGE)
    assert graph.weights["1.weight"].shape == (5, 64)
    turned = next(node for node in graph.nodes if node.op == "Transpose")
    assert turned.inputs == ("1.weight",)
    module = to_torch(graph)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"1.weight": (5, 64), "1.bias": (5,)}
    x = images(2)
    module(x).sum().backward()
    net(x).sum().backward()
    gradient, expected = module.get_parameter("1.weight").grad, net.get_parameter("1.weight").grad
    assert gradient is not None
    assert expected is not None
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5)


class Token(nn.Module):
    """A learned token before the others, and a table of positions, as in ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 64))
        self.position = nn.Parameter(torch.randn(1, 4, 64))
        self.attention = nn.MultiheadAttention(64, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2)], 1) + self.position
        y: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return y[:, 0]


def test_token_is_expanded_without_naming_its_width() -> None:
    net = Token()
    graph = capture(net, input_shape=IMAGE)
    expand = next(node for node in graph.nodes if node.op == "Expand")
    target = graph.producers()[expand.inputs[1]]
    assert target.op == "Concat"
    assert [graph.weights[name].tolist() for name in target.inputs if name in graph.weights] == [[1, 1]]
    assert {"token", "position", "attention.in_proj_weight"} <= set(graph.weights)
    assert_same(graph, net, images(5))


@pytest.mark.parametrize(("pool", "size"), [(F.adaptive_avg_pool2d, (7, 3)), (F.adaptive_max_pool2d, (3, 8))])
def test_adaptive_pool_of_sizes_that_do_not_divide(pool: object, size: tuple[int, int]) -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return pool(x, size)  # type: ignore[operator, no-any-return]

    assert_same(capture(Pooled(), input_shape=IMAGE), Pooled(), images(3))


class Pieces(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        head, rest = torch.tensor_split(x, indices=(1,), dim=2)  # the exporter writes a loop over a sequence
        first, second = torch.chunk(rest.reshape(x.shape[0], -1), 2, 1)
        return torch.cat([head.flatten(1), first * second], 1)


def test_sequences_and_loops_of_known_length_become_plain_nodes() -> None:
    graph = capture(Pieces(), input_shape=IMAGE)
    assert not {"Loop", "SequenceAt", "SequenceInsert", "SequenceEmpty", "Shape"} & set(ops(graph))
    splits = [node for node in graph.nodes if node.op == "Split"]
    assert all(node.inputs[1] in graph.weights for node in splits)
    assert_same(graph, Pieces(), images(5))


class TwoInputs(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> list[Tensor]:
        return [left + right.mean(1, keepdim=True), right.flatten(1)]


def test_several_inputs_and_outputs() -> None:
    graph = capture(TwoInputs(), input_shape=[IMAGE, (1, 2, 8, 8)])
    assert graph.input_shapes == {"input_0": ("N", 3, 8, 8), "input_1": ("N", 2, 8, 8)}
    assert [port.name for port in graph.outputs] == ["output_0", "output_1"]
    assert_same(graph, TwoInputs(), images(4), images(4, 2, 8, 8))


@pytest.mark.parametrize("shapes", [[IMAGE, "no shape"], [IMAGE, (1, 0)], [[IMAGE]]])
def test_shapes_that_are_none_are_refused(shapes: object) -> None:
    with pytest.raises(UsageError, match="shape"):
        capture(TwoInputs(), input_shape=shapes)  # type: ignore[arg-type]


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": x * 2, "aux": x.mean((2, 3))}


def test_outputs_of_a_dictionary_keep_their_names() -> None:
    graph = capture(Named(), input_shape=IMAGE)
    assert {port.name: port.shape for port in graph.outputs} == {"out": ("N", 3, 8, 8), "aux": ("N", 3)}


class Detector(nn.Module):
    """Finds pixels above a threshold: how many depends on the image."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
        self.threshold = threshold

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for image in x:
            scores = self.conv(image[None]).flatten()
            kept = torch.where(scores > self.threshold)[0]
            found.append({"places": kept, "scores": scores[kept]})
        return found


def test_sizes_that_depend_on_the_data_are_unknown_and_the_batch_is_fixed() -> None:
    torch.manual_seed(1)
    net = Detector(0.0).eval()
    graph = capture(net, input_shape=IMAGE)
    assert graph.inputs[0].shape == IMAGE
    assert [(port.name, port.shape) for port in graph.outputs] == [("places", ("places.0",)), ("scores", ("scores.0",))]
    assert graph.shape_of("scores") == (UNKNOWN_SIZE,)
    with pytest.raises(ModelError, match="'scores' depends on the data"):
        graph.static_shape_of("scores")
    assert graph.static_shape_of(next(n for n in graph.nodes if n.op == "Conv").outputs[0]) == (1, 1, 8, 8)
    x = images(1)
    with torch.no_grad():
        expected = net(x)[0]
    places, scores = run(graph, x)
    assert len(places) > 5
    assert np.array_equal(places, expected["places"].numpy())
    assert np.allclose(scores, expected["scores"].numpy(), atol=1e-5)


def test_check_that_compares_nothing_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        capture(Detector(1e6), input_shape=IMAGE)
    assert "were not compared" in caplog.text


def test_findings_are_compared_as_sets() -> None:
    rng = np.random.default_rng(0)
    boxes, labels = rng.uniform(0, 300, (100, 4)), rng.integers(0, 5, 100)
    order = rng.permutation(100)
    assert missing_share([boxes, labels], [boxes[order], labels[order]], 1e-4) == 0
    assert missing_share([boxes, labels], [boxes[:90], labels[:90]], 1e-4) == pytest.approx(0.1)
    assert missing_share([boxes, labels], [boxes + 1, labels], 1e-4) == 1
    assert missing_share([boxes[:0], labels[:0]], [boxes, labels], 1e-4) == 1


def branching(condition: np.ndarray | None) -> onnx.ModelProto:
    """A network whose branches read a renamed input, a constant and a computed tensor from around them."""
    inner = [
        helper.make_node("Add", ["same", "bias"], ["sum"], name="inner"),
        helper.make_node("Mul", ["same", "positive"], ["product"], name="inner"),
    ]
    branches = [
        helper.make_graph(
            [node], "branch", [], [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)]
        )
        for node in inner
    ]
    nodes = [
        helper.make_node("Identity", ["x"], ["same"], name="rename"),
        helper.make_node("Relu", ["x"], ["positive"], name="relu"),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0, name="sum"),
        helper.make_node("Greater", ["total", "zero"], ["condition"], name="compare"),
        helper.make_node("If", ["condition"], ["y"], then_branch=branches[0], else_branch=branches[1], name="choose"),
    ]
    constants = {"bias": np.ones(4, np.float32), "zero": np.zeros((), np.float32)}
    if condition is not None:
        nodes = [node for node in nodes if node.name not in ("sum", "compare")]
        constants["condition"] = condition
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_branch_that_depends_on_data_keeps_what_it_reads() -> None:
    graph = capture(branching(None))
    choose = next(node for node in graph.nodes if node.op == "If")
    assert set(choose.captured) == {"same", "bias", "positive"}
    x = torch.tensor([[1.0, -2.0, 3.0, 4.0], [1.0, 2.0, 3.0, -4.0]])
    assert np.array_equal(run(graph, x)[0], x.numpy() + 1)
    assert np.array_equal(run(graph, -x)[0], -x.numpy() * np.maximum(-x.numpy(), 0))


@pytest.mark.parametrize(("condition", "left"), [(True, ["Add"]), (False, ["Relu", "Mul"])])
def test_branch_whose_condition_is_known_is_written_out(condition: bool, left: list[str]) -> None:
    graph = capture(branching(np.asarray(condition)))
    assert ops(graph) == left
    assert graph.outputs[0].shape == ("N", 4)


class StandardisedWeights(nn.Module):
    """Weights normalised by a batch norm in training mode, as in networks without norms."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        flat = F.batch_norm(self.weight.reshape(1, 4, -1), None, None, training=True, momentum=0.0)
        return F.conv2d(x, flat.reshape_as(self.weight))


def test_computed_weights_are_constants() -> None:
    net = StandardisedWeights()
    graph = capture(net, input_shape=IMAGE)
    assert ops(graph) == ["Conv"]
    assert_same(graph, net, images(3))
