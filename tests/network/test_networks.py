import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from deploycompress.network import from_torch, to_torch
from tests.network.build import export, randomize, relative_difference, run_runtime
from tests.network.models import MixedNet, ResNet

NETWORKS = {
    "resnet20": (lambda: ResNet(3), (2, 3, 32, 32)),
    "mixed": (MixedNet, (2, 3, 16, 16)),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(), (2, 3, 64, 64)),
    "squeezenet1_1": (lambda: torchvision.models.squeezenet1_1(), (2, 3, 64, 64)),
    "shufflenet_v2_x0_5": (lambda: torchvision.models.shufflenet_v2_x0_5(), (2, 3, 64, 64)),
}


def _network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = NETWORKS[name]
    module = make()  # type: ignore[no-untyped-call]  # torchvision's are unannotated
    randomize(module, seed=1)
    return module.eval(), shape


@pytest.mark.parametrize("name", NETWORKS)
def test_network_equals_onnx_runtime_and_its_source(name: str) -> None:
    source, shape = _network(name)
    graph = export(source, shape)
    images = np.random.default_rng(0).standard_normal((3, *shape[1:]), dtype=np.float32)
    module = to_torch(graph)
    with torch.no_grad():
        got, original = module(torch.from_numpy(images)), source(torch.from_numpy(images))
    assert relative_difference(got, run_runtime(graph, images)[0]) < 1e-5
    assert relative_difference(got, original.numpy()) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_network_trains_the_parameters_of_its_source(name: str) -> None:
    source, shape = _network(name)
    module = to_torch(export(source, shape))
    same_name = {key for key, _ in source.named_parameters()} & {key for key, _ in module.named_parameters()}
    parameters = dict(module.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == sum(p.numel() for p in source.parameters())
    # capture stores the weights of products over more than two axes transposed, and PReLU's with axes added
    assert all(key in same_name for key, p in source.named_parameters() if p.ndim == 4 or name != "mixed")
    assert dict(module.named_buffers()).keys() >= {k for k in source.state_dict() if k.endswith("running_mean")}


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip_gives_the_same_bits(name: str) -> None:
    source, shape = _network(name)
    graph = export(source, shape)
    again = from_torch(to_torch(graph))
    assert again.to_bytes() == graph.to_bytes()


@pytest.mark.parametrize("name", ["resnet20", "mixed"])
def test_graph_written_back_after_training_equals_the_module(name: str) -> None:
    source, shape = _network(name)
    graph = export(source, shape)
    before = {key: array.copy() for key, array in graph.weights.items()}
    module = to_torch(graph).train()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4, *shape[1:]), dtype=np.float32)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        torch.logsumexp(module(torch.from_numpy(images)), 1).sum().backward()  # type: ignore[no-untyped-call]  # torch's is unannotated
        optimizer.step()
    module.eval()
    trained = from_torch(module)
    with torch.no_grad():
        got = module(torch.from_numpy(images))
    assert relative_difference(got, run_runtime(trained, images)[0]) < 1e-5
    assert all(not np.array_equal(trained.weights[key], before[key]) for key in module.state_keys())
    assert all(np.array_equal(graph.weights[key], before[key]) for key in before), "the source graph was written to"


def test_training_equals_the_source_module_step_by_step() -> None:
    source, shape = _network("resnet20")
    module = to_torch(export(source, shape)).train()
    source.train()
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((4, *shape[1:]), dtype=np.float32))
    for network in (module, source):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    expected = source.state_dict()
    for key, value in module.state_dict().items():
        assert relative_difference(value, expected[key].numpy()) < 1e-4, key


def test_state_dict_of_the_source_loads() -> None:
    source, shape = _network("resnet20")
    module = to_torch(export(source, shape))
    other = ResNet(3)
    randomize(other, seed=2)
    module.load_state_dict(other.state_dict())
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with torch.no_grad():
        expected = other.eval()(torch.from_numpy(images)).numpy()
        assert relative_difference(module(torch.from_numpy(images)), expected) < 1e-5
    assert relative_difference(run_runtime(from_torch(module), images)[0], expected) < 1e-5
