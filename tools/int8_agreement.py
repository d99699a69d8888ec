"""Measures how far the executor's fake quantisation lies from what ONNX Runtime computes in 8-bit integers.

Run from the repository root as `python -m tools.int8_agreement`; prints a Markdown table. Whole networks are compared,
where a step more or less in one layer changes what the layers behind it round, and layers one by one, each on the
integers that ONNX Runtime gives it. `../shared` holds weights of the ResNets and images; what is missing is random.
Images are of the training data, never of the test data; everything runs in float32 on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from onnx import helper
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Array, Graph, Port
from deploycompress.network.inference import run_module
from deploycompress.network.module import to_torch
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import finished, quantized
from deploycompress.surgery.shipped import shipped_form
from tools.cifar_resnet import resnet20, resnet56

SHARED = Path(__file__).resolve().parents[2] / "shared"
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIDE, CALIBRATION_IMAGES = 32, 256

BUILDERS = {
    "ResNet-20": resnet20,
    "ResNet-56": resnet56,
    "MobileNetV2": torchvision.models.mobilenet_v2,
    "MobileNetV3-small": torchvision.models.mobilenet_v3_small,
    "ShuffleNetV2 x0.5": torchvision.models.shufflenet_v2_x0_5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two results of one quantised network compare, in steps of what they are rounded to.

    Attributes:
        largest: difference.
        mean: difference.
        equal: share of the values that are the same.
    """

    largest: int
    mean: float
    equal: float


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=256, help="how many are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = some_images(CALIBRATION_IMAGES + options.images)
    print("| model | against ONNX Runtime's integers | largest | mean | equal |\n|---|---|---|---|---|")
    for name in BUILDERS:
        for what, found in compare(network(name), images[CALIBRATION_IMAGES:], images[:CALIBRATION_IMAGES]):
            print(f"| {name} | {what} | {found.largest} | {found.mean:.4f} | {found.equal:.4%} |", flush=True)
    return 0


def network(name: str) -> Graph:
    """Give a network in the form that ships, with its trained weights where they are there."""
    torch.manual_seed(0)
    module = BUILDERS[name]().eval()
    weights = SHARED / "models" / f"{name.lower().replace('-', '')}_cifar10.state_dict.pt"
    if weights.is_file():
        module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    elif not name.startswith("ResNet"):
        _settle_norms(module)
    return shipped_form(capture(module, input_shape=(1, 3, SIDE, SIDE)))


def _settle_norms(module: nn.Module) -> None:
    """Let the norms of a network with random weights see noise, or its signals would fade to nothing."""
    module.train()
    with torch.no_grad():
        for _ in range(30):
            module(torch.randn(32, 3, SIDE, SIDE))
    module.eval()


def some_images(count: int) -> Array:
    """Give normalised images [N, 3, 32, 32] of CIFAR-10's training data; noise where it is not there."""
    path = SHARED / "data" / "cifar10" / "train-0.npz"
    if not path.is_file():
        return np.random.default_rng(0).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)
    with np.load(path) as archive:
        pixels = archive["images"][:count]
    return np.ascontiguousarray(((pixels / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2), dtype=np.float32)


def compare(shipped: Graph, images: Array, calibration: Array) -> Iterator[tuple[str, Agreement]]:
    """Quantise a network and compare what runs it with ONNX Runtime on the finished graph.

    Args:
        shipped: float network with one input and one output.
        images: normalised, float32 [B, C, H, W].
        calibration: the same, to take ranges on.

    Yields:
        What runs, and how it compares.
    """
    form = Int8Format()
    trainable = quantized(shipped, find_ranges(shipped, [calibration]), form, trainable=True)
    graph = finished(trainable, form)
    expected = run_runtime(graph, [images])
    steps = [output_step(graph, expected[0])]
    yield "executor, trainable graph", agreement(run_executor(trainable, [images]), expected, steps)
    rounded = with_rounded_biases(trainable, graph)
    yield "executor, trainable graph, rounded biases", agreement(run_executor(rounded, [images]), expected, steps)
    yield "executor, finished graph", agreement(run_executor(graph, [images]), expected, steps)
    yield "ONNX Runtime, no fusion", agreement(run_runtime(graph, [images], fuses=False), expected, steps)
    cut, inputs = layers_alone(graph, images)
    mine, theirs = ([array.astype(np.float32) for array in run(cut, inputs)] for run in (run_executor, run_runtime))
    yield "executor, each layer alone", agreement(mine, theirs, [1.0] * len(cut.outputs))


def with_rounded_biases(trainable: Graph, graph: Graph) -> Graph:
    """Give the float biases of a trainable graph the values of the integers that the finished graph has for them."""
    makers = graph.producers()
    layers = {node.name: node for node in trainable.nodes}
    rounded = {}
    for node in graph.nodes:
        maker = makers.get(node.input(2))
        if maker is not None and maker.op == "DequantizeLinear":
            codes, scale = (graph.weights[name] for name in maker.inputs[:2])
            rounded[layers[node.name].inputs[2]] = codes.astype(np.float32) * scale
    return trainable.with_weights(rounded)


def layers_alone(graph: Graph, images: Array) -> tuple[Graph, list[Array]]:
    """Cut a finished graph behind every quantiser of an activation.

    Returns:
        A graph that gives the codes of each layer and takes those of the layers before, and ONNX Runtime's for it.
    """
    made = [node.outputs[0] for node in graph.nodes if node.op == "QuantizeLinear"]
    zeros = [graph.weights[node.inputs[2]] for node in graph.nodes if node.op == "QuantizeLinear"]
    ports = tuple(_port(graph, name, zero) for name, zero in zip(made, zeros, strict=True))
    given = {name: f"{name}.given" for name in made}
    nodes = tuple(replace(node, inputs=tuple(given.get(name, name) for name in node.inputs)) for node in graph.nodes)
    inputs = (*graph.inputs, *(replace(port, name=given[port.name]) for port in ports))
    shapes = {**graph.shapes, **{given[name]: graph.shapes[name] for name in made}}
    cut = replace(graph, nodes=nodes, inputs=inputs, outputs=ports, shapes=shapes)
    return cut, [images, *run_runtime(replace(graph, outputs=ports), [images])]


def _port(graph: Graph, name: str, zero: Array) -> Port:
    batch = graph.inputs[0].shape[0]
    return Port(name=name, dtype=helper.np_dtype_to_tensor_dtype(zero.dtype), shape=(batch, *graph.shapes[name][1:]))


def output_step(graph: Graph, output: Array) -> float:
    """Give the scale of the only output; where that stays float, the step that would cover its values."""
    maker = graph.producers()[graph.outputs[0].name]
    if maker.op == "DequantizeLinear":
        return float(graph.weights[maker.inputs[1]])
    return float(output.max() - output.min()) / 255


def run_executor(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Run a graph in torch."""
    return run_module(to_torch(graph), dict(zip([port.name for port in graph.inputs], inputs, strict=True)))


def run_runtime(graph: Graph, inputs: Sequence[Array], *, fuses: bool = True) -> list[Array]:
    """Run a graph in ONNX Runtime, either as it deploys it, or node by node in floats."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fuses else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])
    feeds = dict(zip([port.name for port in graph.inputs], inputs, strict=True))
    return [np.asarray(output) for output in session.run(None, feeds)]


def agreement(found: Sequence[Array], expected: Sequence[Array], steps: Sequence[float]) -> Agreement:
    """Compare arrays, each in steps of its own scale."""
    trios = zip(found, expected, steps, strict=True)
    apart = np.concatenate([np.rint(np.abs(mine - theirs) / step).reshape(-1) for mine, theirs, step in trios])
    return Agreement(largest=int(apart.max()), mean=float(apart.mean()), equal=float((apart == 0).mean()))


if __name__ == "__main__":
    raise SystemExit(main())
