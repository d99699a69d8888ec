"""A slim network as a .pt2 program: torch alone runs it, trains it, and gives its weights back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import ModelError, OutputError, UntrustedModelError
from deploycompress.graph import Array, Graph
from deploycompress.network import save_pt2, to_torch
from deploycompress.surgery.slim import slim
from tests.build import random_plan, residual_net, start


@pytest.fixture(scope="module")
def graph() -> Graph:
    teacher = residual_net(width=8)
    return slim(teacher, random_plan(trace_channels(teacher), seed=1))


def images(batch: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, 3, 8, 8)).astype(np.float32)


def onnx_runtime(graph: Graph, x: Array) -> Array:
    session = onnxruntime.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize("batch", [1, 5])
def test_evaluation_form_computes_what_the_graph_computes(graph: Graph, tmp_path: Path, batch: int) -> None:
    save_pt2(graph, tmp_path / "net.pt2")
    program = torch.export.load(str(tmp_path / "net.pt2")).module()
    x = images(batch)
    np.testing.assert_allclose(
        program(torch.from_numpy(x)).detach().numpy(), onnx_runtime(graph, x), rtol=1e-5, atol=1e-5
    )


def test_training_form_trains_and_its_weights_fit_the_evaluation_form_and_the_graph(
    graph: Graph, tmp_path: Path
) -> None:
    for training in (True, False):
        save_pt2(graph, tmp_path / f"{training}.pt2", training=training)
    network = torch.export.load(str(tmp_path / "True.pt2")).module()
    x, labels = torch.from_numpy(images(32)), torch.arange(32) % 5
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    after = network.state_dict()
    assert set(after) <= set(graph.weights)
    assert all(not torch.equal(before[name], after[name]) for name in after)  # statistics among them

    evaluation = torch.export.load(str(tmp_path / "False.pt2")).module()
    evaluation.load_state_dict(after)
    trained = graph.with_weights({name: tensor.detach().numpy() for name, tensor in after.items()})
    np.testing.assert_allclose(evaluation(x).detach().numpy(), onnx_runtime(trained, x.numpy()), rtol=1e-5, atol=1e-5)


def test_training_form_normalises_with_the_batch(graph: Graph, tmp_path: Path) -> None:
    save_pt2(graph, tmp_path / "net.pt2", training=True)
    network = torch.export.load(str(tmp_path / "net.pt2")).module()
    module = to_torch(graph).train()
    x = torch.from_numpy(images(5))
    torch.testing.assert_close(network(x), module(x))
    assert not np.allclose(network(x).detach().numpy(), onnx_runtime(graph, x.numpy()), atol=1e-3)


def test_capture_takes_the_program_back_with_trust_alone(graph: Graph, tmp_path: Path) -> None:
    save_pt2(graph, tmp_path / "net.pt2")
    with pytest.raises(UntrustedModelError):
        capture(tmp_path / "net.pt2")
    back = capture(tmp_path / "net.pt2", trust=True)
    x = images(5)
    (name,) = back.input_shapes
    session = onnxruntime.InferenceSession(back.to_bytes(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {name: x})[0], onnx_runtime(graph, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_the_module_is_left_as_it_was(graph: Graph, tmp_path: Path, training: bool) -> None:
    module = to_torch(graph)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    save_pt2(module, tmp_path / "net.pt2", training=training)
    assert not module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_weights_of_the_moment_are_written(graph: Graph, tmp_path: Path) -> None:
    module = to_torch(graph)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    save_pt2(module, tmp_path / "net.pt2")
    x = torch.from_numpy(images(2))
    program = torch.export.load(str(tmp_path / "net.pt2")).module()
    torch.testing.assert_close(program(x), module(x))


def test_nothing_is_left_behind_where_the_file_cannot_be_written(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_pt2(graph, tmp_path / "absent" / "net.pt2")
    (tmp_path / "net.pt2").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_pt2(graph, tmp_path / "net.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]


def test_a_network_that_cannot_be_trained_is_refused_by_name(tmp_path: Path) -> None:
    net = start()
    odd = net.finish(net.op("Det", net.op("Identity", "x")), input_shape=(3, 3, 3))
    with pytest.raises(ModelError, match="Det"):
        save_pt2(odd, tmp_path / "net.pt2")
