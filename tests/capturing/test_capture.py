"""What capture promises of the graph, whatever the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from deploycompress.capturing.capture import capture
from deploycompress.errors import ModelError, UsageError
from deploycompress.graph import Graph
from tests.capturing.build import INPUT_SHAPE, exported_onnx, save_program, save_torchscript, seeded_net

NET_OPS = ["Conv", "BatchNormalization", "Relu", "Reshape", "Gemm"]
NET_WEIGHTS = {"conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "head.weight", "head.bias"}


def run(graph: Graph, x: Tensor) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {graph.inputs[0].name: x.numpy()})[0])


def batch(samples: int, seed: int = 3) -> Tensor:
    return torch.randn((samples, *INPUT_SHAPE[1:]), generator=torch.Generator().manual_seed(seed))


def assert_same(graph: Graph, module: nn.Module, samples: int = 5) -> None:
    x = batch(samples)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert np.max(np.abs(run(graph, x) - expected)) <= 1e-4 * np.max(np.abs(expected))


def test_module_keeps_batch_norm_names_and_values() -> None:
    net = seeded_net()
    graph = capture(net, input_shape=INPUT_SHAPE)
    assert [node.op for node in graph.nodes] == NET_OPS
    assert set(graph.weights) >= NET_WEIGHTS
    assert np.array_equal(graph.weights["bn.running_var"], net.state_dict()["bn.running_var"].numpy())
    assert graph.inputs[0].shape == ("N", 3, 8, 8)
    assert graph.outputs[0].shape == ("N", 5)
    assert (graph.opset, graph.ir_version) == (17, 8)
    assert_same(graph, net)


def test_reshape_copies_the_batch_and_names_the_rest() -> None:
    graph = capture(seeded_net(), input_shape=INPUT_SHAPE)
    reshape = next(node for node in graph.nodes if node.op == "Reshape")
    assert graph.weights[reshape.inputs[1]].tolist() == [0, 256]


def test_module_is_left_as_it_was() -> None:
    net = seeded_net().train()
    net.bn.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    capture(net, input_shape=INPUT_SHAPE)
    assert [part.training for part in net.modules()] == [True, True, False, True, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_capture_twice_gives_equal_bytes() -> None:
    net = seeded_net()
    assert capture(net, input_shape=INPUT_SHAPE).to_bytes() == capture(net, input_shape=INPUT_SHAPE).to_bytes()


def test_parameters_that_happen_to_be_equal_stay_apart() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    graph = capture(net, input_shape=INPUT_SHAPE)
    norms = [node for node in graph.nodes if node.op == "BatchNormalization"]
    assert norms[0].inputs[1:] == ("1.weight", "1.bias", "1.running_mean", "1.running_var")
    assert norms[1].inputs[1:] == ("3.weight", "3.bias", "3.running_mean", "3.running_var")


def test_tied_parameters_stay_one() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 3, 1, bias=False))
    net[2].weight = net[0].weight
    graph = capture(net, input_shape=INPUT_SHAPE)
    convs = [node for node in graph.nodes if node.op == "Conv"]
    assert convs[0].inputs[1] == convs[1].inputs[1]
    assert len(graph.weights) == 1


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return x.view(n * c, h * w).mean(1).view(n, c)


def test_channel_shuffle_leaves_no_shape_arithmetic() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Shuffle())
    graph = capture(net, input_shape=INPUT_SHAPE)
    targets = [graph.weights[node.inputs[1]].tolist() for node in graph.nodes if node.op == "Reshape"]
    assert targets == [[0, 2, 2, 8, 8], [0, 4, 8, 8], [-1, 64], [-1, 4]]
    assert not {"Shape", "Gather", "Concat", "Cast", "Unsqueeze"} & {node.op for node in graph.nodes}
    assert_same(graph, net)


class Slices(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1).flatten(1)


def test_each_size_constant_has_one_reader() -> None:
    graph = capture(Slices(), input_shape=INPUT_SHAPE)
    readers = graph.readers()
    counts = {name: len(readers[name]) for name, array in graph.weights.items() if array.dtype == np.int64}
    assert counts
    assert set(counts.values()) == {1}
    assert_same(graph, Slices())


class BatchMixer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * len(x)  # len is a Python number: tracing freezes it


def test_a_batch_size_frozen_by_tracing_is_noticed() -> None:
    with pytest.raises(ModelError, match="differs from the model by"):
        capture(BatchMixer(), input_shape=INPUT_SHAPE)


def test_module_needs_an_input_shape() -> None:
    with pytest.raises(UsageError, match="--input-shape"):
        capture(seeded_net())


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 9, 9), (3,), (1, 3, 0, 8)])
def test_wrong_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="--input-shape"):
        capture(seeded_net(), input_shape=shape)


def test_half_precision_is_refused() -> None:
    with pytest.raises(ModelError, match="float16"):
        capture(seeded_net().half(), input_shape=INPUT_SHAPE)


class Bessel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.special.bessel_j0(x)
        return y


def test_exporter_failure_is_one_sentence_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="bessel_j0"):
        capture(Bessel(), input_shape=INPUT_SHAPE)
    assert capfd.readouterr() == ("", "")


def test_torchscript_goes_through_with_trust(tmp_path: Path) -> None:
    net = seeded_net()
    save_torchscript(net, tmp_path / "net.pt")
    graph = capture(tmp_path / "net.pt", input_shape=INPUT_SHAPE, trust=True)
    assert [node.op for node in graph.nodes] == NET_OPS
    assert set(graph.weights) >= NET_WEIGHTS
    assert_same(graph, net)


@pytest.mark.parametrize(("samples", "dynamic"), [(1, False), (4, False), (2, True)])
def test_exported_program_goes_through_with_trust(tmp_path: Path, samples: int, dynamic: bool) -> None:
    net = seeded_net()
    save_program(net, tmp_path / "net.pt2", batch=samples, dynamic=dynamic)
    graph = capture(tmp_path / "net.pt2", trust=True)
    assert [node.op for node in graph.nodes] == NET_OPS
    assert set(graph.weights) >= NET_WEIGHTS
    assert_same(graph, net)


@pytest.mark.parametrize("dynamic", [(), (0,), (0, 2, 3)])
def test_onnx_file_goes_through(tmp_path: Path, dynamic: tuple[int, ...]) -> None:
    net = seeded_net()
    path = tmp_path / "net.onnx"
    path.write_bytes(exported_onnx(net, dynamic=dynamic).SerializeToString())
    graph = capture(path, input_shape=INPUT_SHAPE if 2 in dynamic else None)
    assert [node.op for node in graph.nodes] == NET_OPS
    assert graph.inputs[0].shape == ("N", 3, 8, 8)
    assert graph.inputs[0].name == "image"
    assert_same(graph, net)


def test_fixed_batch_is_freed_even_where_zero_meant_zero() -> None:
    model = exported_onnx(seeded_net(), dynamic=())
    reshape = next(node for node in model.graph.node if node.op_type == "Reshape")
    del reshape.attribute[:]
    reshape.attribute.append(helper.make_attribute("allowzero", 1))
    assert_same(capture(model), seeded_net())


def test_capture_of_a_captured_file_changes_nothing(tmp_path: Path) -> None:
    graph = capture(seeded_net(), input_shape=INPUT_SHAPE)
    graph.save(tmp_path / "teacher.onnx")
    assert capture(tmp_path / "teacher.onnx").to_bytes() == graph.to_bytes()
