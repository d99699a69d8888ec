import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from deploycompress.errors import ModelError
from deploycompress.graph import Graph
from deploycompress.network import from_torch, to_torch
from tests.network.build import make_graph, randomize

CHANNELS = 5


def _norm_graph(norm: nn.Module, momentum: float) -> Graph:
    state = {name: tensor.numpy() for name, tensor in norm.state_dict().items() if tensor.ndim}
    inputs = ["x", "weight", "bias", "running_mean", "running_var"]
    node = helper.make_node("BatchNormalization", inputs, ["y"], epsilon=norm.eps, momentum=1 - momentum)
    return make_graph([node], state, ["batch", CHANNELS, 4, 3])


@pytest.mark.parametrize("momentum", [0.1, 0.3])
def test_training_equals_torch_batch_norm(momentum: float) -> None:
    norm = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=momentum)
    randomize(norm, seed=0)
    module = to_torch(_norm_graph(norm, momentum)).train()
    norm.train()
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        images = torch.randn(6, CHANNELS, 4, 3, generator=generator)
        pulls = torch.randn(6, CHANNELS, 4, 3, generator=generator)
        ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
        got, expected = module(ours), norm(theirs)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
        (got * pulls).sum().backward()
        (expected * pulls).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-7)
    assert set(dict(module.named_parameters())) == {"weight", "bias"}
    for name, parameter in norm.named_parameters():
        torch.testing.assert_close(dict(module.named_parameters())[name].grad, parameter.grad, rtol=1e-6, atol=1e-6)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(module.state_dict()[name], norm.state_dict()[name], rtol=1e-6, atol=1e-7)


def test_running_variance_is_unbiased() -> None:
    norm = nn.BatchNorm2d(CHANNELS)
    module = to_torch(_norm_graph(norm, 1.0)).train()
    images = np.random.default_rng(0).standard_normal((2, CHANNELS, 4, 3), dtype=np.float32)
    module(torch.from_numpy(images))
    expected = images.transpose(1, 0, 2, 3).reshape(CHANNELS, -1).var(axis=1, ddof=1)
    np.testing.assert_allclose(from_torch(module).weights["running_var"], expected, rtol=1e-5)


def test_evaluation_leaves_the_statistics_alone() -> None:
    norm = nn.BatchNorm2d(CHANNELS)
    randomize(norm, seed=0)
    graph = _norm_graph(norm, 0.1)
    module = to_torch(graph)
    module(torch.ones(2, CHANNELS, 4, 3))
    assert from_torch(module).to_bytes() == graph.to_bytes()


def test_momentum_of_one_over_k_averages_over_all_batches() -> None:
    module = to_torch(_norm_graph(nn.BatchNorm2d(CHANNELS), 0.1)).train()
    batches = np.random.default_rng(0).standard_normal((4, 8, CHANNELS, 4, 3), dtype=np.float32)
    for index, batch in enumerate(batches):
        module.set_statistics_momentum(1 / (index + 1))
        module(torch.from_numpy(batch))
    expected = batches.mean(axis=(1, 3, 4)).mean(axis=0)
    np.testing.assert_allclose(from_torch(module).weights["running_mean"], expected, rtol=1e-4, atol=1e-6)


def test_statistics_of_two_norms_in_one_tensor_cannot_be_trained() -> None:
    state = {"s": np.ones(CHANNELS, np.float32), "m": np.zeros(CHANNELS, np.float32)}
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "m", "m", "s"], ["h"], name="first"),
        helper.make_node("BatchNormalization", ["h", "s", "m", "m", "s"], ["y"], name="second"),
    ]
    module = to_torch(make_graph(nodes, state, ["batch", CHANNELS, 4, 3]))
    with pytest.raises(ModelError, match="several batch norms"):
        module.train()
