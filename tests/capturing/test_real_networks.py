"""Real networks: the CIFAR-10 teachers keep their accuracy, and torchvision's come out with nothing but layers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torchvision
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from tools.cifar_resnet import resnet20

SHARED = Path(__file__).parents[2].parent / "shared"
TEST_FILE = SHARED / "data" / "cifar10" / "test.npz"
IMAGES = 1000
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
LAYERS = {"Conv", "BatchNormalization", "Relu", "MaxPool", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Concat"}
GATES = {"Mul", "HardSwish", "HardSigmoid", "Clip"}
RESHAPES = {"Reshape", "Transpose", "Slice", "ReduceMean"}  # channel shuffle and its halves

needs_shared = pytest.mark.skipif(not TEST_FILE.exists(), reason="the CIFAR-10 data and weights are not here")


def accuracy(graph: Graph) -> float:
    with np.load(TEST_FILE) as data:
        images, labels = data["images"][:IMAGES], data["labels"][:IMAGES]
    x = ((images.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    session = ort.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    scores = [session.run(None, {"input": np.ascontiguousarray(part)})[0] for part in np.split(x, 10)]
    return float(np.mean(np.concatenate(scores).argmax(1) == labels))


@needs_shared
@pytest.mark.parametrize(("name", "published"), [("resnet20", 0.9173), ("resnet56", 0.9339)])
def test_cifar_teacher_keeps_its_accuracy(name: str, published: float) -> None:
    path = SHARED / "models" / f"{name}_cifar10.state_dict.pt"
    graph = capture(path, arch=f"tools.cifar_resnet:{name}", input_shape=(1, 3, 32, 32))
    assert abs(accuracy(graph) - published) < 0.02  # a thousand images: one standard deviation is 0.9 %


def test_option_a_shortcut_is_two_slices_and_a_pad() -> None:
    graph = capture(resnet20(), input_shape=(1, 3, 32, 32))
    readers = graph.readers()
    pads = [node for node in graph.nodes if node.op == "Pad"]
    assert [graph.weights[node.inputs[1]].tolist() for node in pads] == [[0, c, 0, 0, 0, c, 0, 0] for c in (8, 16)]
    slices = [node for node in graph.nodes if node.op == "Slice"]
    assert [graph.weights[node.inputs[4]].tolist() for node in slices] == [[2]] * 4
    assert all(len(readers[name]) == 1 for node in (*pads, *slices) for name in node.inputs[1:] if name)


def randomise_batch_norm(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in part.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("resnet18", LAYERS),
        ("mobilenet_v2", LAYERS | GATES),
        ("mobilenet_v3_large", LAYERS | GATES),
        ("shufflenet_v2_x0_5", LAYERS | RESHAPES),
    ],
)
def test_torchvision_network_is_layers_only(name: str, operators: set[str]) -> None:
    module = randomise_batch_norm(torchvision.models.get_model(name))
    graph = capture(module, input_shape=(1, 3, 64, 64))
    assert {node.op for node in graph.nodes} <= operators
    floats = {key for key, array in module.state_dict().items() if array.is_floating_point()}
    assert floats <= set(graph.weights)


def test_telemetry_of_onnx_runtime_is_off() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
