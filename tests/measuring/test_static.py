"""Arithmetic costs against torch's own counters, and the activation peak against ONNX Runtime's allocator."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import helper
from torch.utils.flop_counter import FlopCounterMode

from deploycompress.capturing.capture import capture
from deploycompress.errors import ModelError
from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.measuring import Meter, static
from deploycompress.measuring.element_types import element_bytes, element_types
from deploycompress.profile_files import load_profile
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import layers
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import quantized
from tests.build import start
from tests.measuring.networks import conv_net, model_of


def exported(module: torch.nn.Module, image: torch.Tensor) -> Graph:
    """Export with every parameter different, because the exporter shares equal constants."""
    generator = torch.Generator().manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (image,),
            buffer,  # type: ignore[arg-type]  # this exporter takes streams
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=True,
            opset_version=17,
        )
    return graph_from_onnx(onnx.load_model_from_string(buffer.getvalue()))


class Mixture(torch.nn.Module):
    """Transposed, grouped and dilated convolutions, a linear layer on sequences, PReLU and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2)
        self.grouped = torch.nn.Conv2d(8, 12, 3, groups=4, dilation=2)
        self.act = torch.nn.PReLU(12)
        self.linear = torch.nn.Linear(13, 5)
        self.norm = torch.nn.LayerNorm(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(self.linear(self.act(self.grouped(self.up(x)))))
        return result


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: torchvision.models.resnet18(), (1, 3, 64, 64)),
        (lambda: torchvision.models.mobilenet_v2(), (1, 3, 64, 64)),
        (Mixture, (1, 6, 8, 8)),
    ],
    ids=["resnet18", "mobilenet_v2", "mixture"],
)
def test_params_and_macs_equal_torchs_own_count(make: type[torch.nn.Module], size: tuple[int, ...]) -> None:
    module, image = make().eval(), torch.zeros(size)
    graph = exported(module, image)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(image)
    assert 2 * static.macs(graph) == counter.get_total_flops()
    assert static.params(graph) == sum(parameter.numel() for parameter in module.parameters())


def test_weights_bytes_counts_statistics_too() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    graph = exported(module, torch.zeros(1, 3, 8, 8))
    assert static.weights_bytes(graph) == 4 * (8 * 3 * 9 + 8 + 4 * 8)
    assert static.params(graph) == 8 * 3 * 9 + 8 + 2 * 8


def test_a_shared_weight_counts_once() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w"], ["y"], pads=[1] * 4),
    ]
    model = model_of(nodes, {"w": np.ones((4, 4, 3, 3), np.float32)}, [1, 4, 8, 8], [1, 4, 8, 8])
    assert static.params(graph_from_onnx(model)) == 4 * 4 * 9


UNFUSED: dict[str, tuple[list[onnx.NodeProto], list[int | str]]] = {
    "chain": (
        [
            helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("AveragePool", ["b"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        [1, 16, 16, 16],
    ),
    "concat": (
        [
            helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
            helper.make_node("GlobalAveragePool", ["c"], ["y"]),
        ],
        [1, 32, 1, 1],
    ),
    "residual with reshape": (
        [
            helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Sigmoid", ["b"], ["c"]),
            helper.make_node("Add", ["b", "c"], ["d"]),
            helper.make_node("Flatten", ["d"], ["f"]),
            helper.make_node("Softmax", ["f"], ["y"]),
        ],
        [1, 16384],
    ),
}


@pytest.mark.parametrize("name", UNFUSED)
def test_liveness_equals_what_onnx_runtime_allocates(name: str) -> None:
    nodes, output = UNFUSED[name]
    graph = graph_from_onnx(model_of(nodes, {}, ["N", 16, 32, 32], output))
    shipped = load_profile(Path(__file__).parents[2] / "profiles" / "x86.toml")
    plain = shipped.runtime.model_copy(update={"graph_optimization": "disabled"})
    with Meter(shipped.model_copy(update={"runtime": plain})) as meter:
        found = meter.measure(graph, max_seconds=0)
    assert found.activation_evidence is Evidence.MEASURED
    # ONNX Runtime's arena rounds every buffer up to 256 bytes.
    assert static.activation_peak_bytes(graph) == pytest.approx(found.activation_peak_bytes, abs=256 * len(nodes))


def test_weights_that_are_turned_before_use_count_as_weights_and_not_as_activations() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
    graph = capture(module, input_shape=(1, 10, 64))
    assert "Transpose" in {node.op for node in graph.nodes}
    assert static.params(graph) == sum(parameter.numel() for parameter in module.parameters())
    # The product and the sum with the bias, of 10 rows of 256 each, live at once.
    assert static.activation_peak_bytes(graph) == 4 * 2 * 10 * 256


def test_liveness_equals_a_plain_loop_on_convolutions() -> None:
    width, size = 24, 16
    graph = graph_from_onnx(onnx.load_model_from_string(conv_net(width, 4, size)))
    # The first convolution reads the caller's input; every later one reads one tensor and makes another.
    assert static.activation_peak_bytes(graph) == 2 * 4 * width * size * size


def test_macs_of_the_nodes_sum_to_those_of_the_graph() -> None:
    graph = exported(Mixture(), torch.zeros(1, 6, 8, 8))
    single = {node.op: static.node_macs(graph, node) for node in graph.nodes}
    assert sum(static.node_macs(graph, node) for node in graph.nodes) == static.macs(graph)
    assert single["Conv"] == 12 * 2 * 13 * 13 * 9
    assert single["PRelu"] == 0


def test_sizes_that_depend_on_the_data_are_refused() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["found"]),
        helper.make_node("Cast", ["found"], ["numbers"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "numbers"], ["y"], name="product"),
    ]
    graph = graph_from_onnx(model_of(nodes, {"w": np.ones((3, 2), np.float32)}, ["N", 4], [3, "found"]))
    with pytest.raises(ModelError, match="depends on the data"):
        static.macs(graph)


def in_every_precision(graph: Graph) -> dict[str, Graph]:
    """Write a network as it ships and as it is trained, and read each back from its file."""
    form = Int8Format()
    ranges = find_ranges(graph, [np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)])
    made = {
        "int8": quantized(graph, ranges, form),
        "trainable": quantized(graph, ranges, form, trainable=True),
        "float biases": quantized(graph, ranges, Int8Format(quantized_bias=False)),
        "mixed": quantized(graph, ranges, form, higher=layers(graph)[1:3]),
        "fp16": half(graph),
        "fp16 mixed": half(graph, higher=layers(graph)[1:-1]),
    }
    return {name: graph_from_onnx(found.to_onnx()) for name, found in made.items()}


@pytest.mark.parametrize("bias", [True, False])
def test_params_and_macs_are_the_same_in_every_precision_but_for_a_fourth_colour(*, bias: bool) -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    x = net.op("Relu", net.conv(net.op("Relu", net.depthwise(x)), 16))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("MatMul", x, net.normal("fc.weight", 16, 12))
    x = net.op("Relu", net.op("Add", x, net.normal("fc.bias", 12)) if bias else x)
    net.width[x] = 12
    graph = net.finish(net.linear(x, 5), input_shape=(3, 8, 8))

    wanted = 8 * 27 + 8 + 8 * 9 + 8 + 16 * 72 + 16 + 16 * 12 + 12 * bias + 12 * 5 + 5
    assert static.params(graph) == wanted
    for name, other in in_every_precision(graph).items():
        fourth = 8 * 9 if name in ("int8", "mixed") else 0
        assert static.params(other) == wanted + fourth, name
        assert static.macs(other) == static.macs(graph) + 8 * 8 * fourth, name


def chain(width: int = 16) -> Graph:
    net = start()
    x = net.op("Relu", net.conv("x", width))
    for _ in range(2):
        x = net.op("Relu", net.conv(x, width))
    return net.finish(net.linear(net.op("Flatten", net.op("GlobalAveragePool", x)), 5), input_shape=(3, 8, 8))


def test_activations_have_the_bytes_of_their_element_types() -> None:
    graph = chain()
    found = {name: static.activation_peak_bytes(other) for name, other in in_every_precision(graph).items()}
    elements = 2 * 16 * 8 * 8  # what a convolution reads and what it gives

    assert static.activation_peak_bytes(graph) == 4 * elements
    assert found["int8"] == found["trainable"] == elements
    assert found["fp16"] == 2 * elements
    assert found["mixed"] == 4 * elements, "float layers read and give float tensors"


def test_a_node_without_8_bit_kernel_reads_and_gives_float() -> None:
    net = start()
    x = net.op("HardSwish", net.conv("x", 16))
    graph = net.finish(net.conv(x, 16), input_shape=(3, 8, 8))
    found = in_every_precision(graph)["int8"]
    elements = 16 * 8 * 8

    # Codes become float, over which HardSwish writes, and float becomes codes again: the one beside the other.
    assert static.activation_peak_bytes(found) == (1 + 4) * elements


def test_relu_that_does_not_vanish_keeps_its_layer_in_float() -> None:
    graph = chain()
    ranges = find_ranges(graph, [np.ones((1, 3, 8, 8), np.float32)])
    found = quantized(graph, ranges, Int8Format(activations="int8", symmetric_activations=True))

    assert static.activation_peak_bytes(found) >= 2 * 4 * 16 * 8 * 8


def test_element_types_are_those_of_the_tensors() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=onnx.TensorProto.FLOAT16),
        helper.make_node("Relu", ["half"], ["positive"]),
        helper.make_node("Shape", ["half"], ["shape"]),
        helper.make_node("Greater", ["positive", "half"], ["where"]),
        helper.make_node("Unknown", ["half"], ["strange"], domain="own"),
        helper.make_node("Cast", ["positive"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    model = model_of(nodes, {}, ["N", 4], ["N", 4])
    model.opset_import.append(helper.make_opsetid("own", 1))
    types = element_types(graph_from_onnx(model))

    assert [element_bytes(types.get(name)) for name in ("x", "half", "positive", "shape", "where", "y")] == [
        *(4, 2, 2, 8, 1, 4)
    ]
    assert "strange" not in types
    assert element_bytes(None) == 4
