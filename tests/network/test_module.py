import copy
import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph
from deploycompress.network import GraphModule, from_torch, to_torch
from tests.network.build import export, make_graph, randomize, relative_difference, run_runtime
from tests.network.models import ResNet

RNG_SEED = 3


@pytest.fixture(scope="module")
def graph() -> Graph:
    source = ResNet(1, width=8)
    randomize(source, seed=0)
    return export(source, (1, 3, 16, 16))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(RNG_SEED).standard_normal((4, 3, 16, 16), dtype=np.float32))


def _linear_graph(names: tuple[str, ...]) -> Graph:
    """Multiply by one matrix after the other."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((4, 4)).astype(np.float32) for name in names}
    tensors = ["x", *(f"h{index}" for index in range(len(names) - 1)), "y"]
    nodes = [helper.make_node("MatMul", [tensors[i], name], [tensors[i + 1]]) for i, name in enumerate(names)]
    return make_graph(nodes, weights, ["batch", 4])


def test_module_starts_in_evaluation_mode(graph: Graph) -> None:
    assert not to_torch(graph).training


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_duplicates_are_equal_and_independent(
    graph: Graph, images: torch.Tensor, duplicate: Callable[[GraphModule], GraphModule]
) -> None:
    module = to_torch(graph).train()
    other = duplicate(module)
    assert other.training
    assert torch.equal(module(images), other(images))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    assert from_torch(module.eval()).weights["fc.weight"].tobytes() == graph.weights["fc.weight"].tobytes()
    np.testing.assert_array_equal(from_torch(other).weights["fc.weight"], 2 * graph.weights["fc.weight"])


def test_whole_module_saves_and_loads(graph: Graph, images: torch.Tensor) -> None:
    module, buffer = to_torch(graph), io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(images), module(images))


def test_state_dict_round_trip(graph: Graph, images: torch.Tensor) -> None:
    module, other = to_torch(graph), to_torch(graph)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(images), other(images))


def test_channels_last_gives_the_same(graph: Graph, images: torch.Tensor) -> None:
    module = to_torch(graph).to(memory_format=torch.channels_last)
    got = module(images.contiguous(memory_format=torch.channels_last))
    assert relative_difference(got, run_runtime(graph, images.numpy())[0]) < 1e-5
    assert from_torch(module).to_bytes() == graph.to_bytes()


def test_autocast_computes_in_bfloat16_and_trains_in_float32(graph: Graph, images: torch.Tensor) -> None:
    module = to_torch(graph).train()
    with torch.autocast("cpu", torch.bfloat16):
        got = module(images)
    assert got.dtype == torch.bfloat16
    got.float().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in module.parameters()
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "is_single"), [(3, 2, 8, True), (5, 1, 8, True), (3, 1, 2, True), (3, 1, 8, False)]
)
def test_depthwise_convolutions_without_a_fast_gradient_ignore_bfloat16(
    kernel: int, stride: int, size: int, *, is_single: bool
) -> None:
    layer = torch.nn.Conv2d(8, 8, kernel, stride=stride, padding=kernel // 2, groups=8)
    x = torch.randn(2, 8, size, size, generator=torch.Generator().manual_seed(0))
    module = to_torch(export(layer.eval(), x.shape))
    with torch.autocast("cpu", torch.bfloat16):
        got = module(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, module(x).bfloat16()) == is_single
    got.float().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in module.parameters()
    )


def test_double_precision_is_closer_to_itself_than_single(graph: Graph, images: torch.Tensor) -> None:
    module = to_torch(graph)
    single = module(images)
    double = module.double()(images.double())
    assert double.dtype == torch.float64
    assert relative_difference(single, double.detach().numpy()) < 1e-5
    assert from_torch(module).to_bytes() == graph.to_bytes()


@pytest.mark.parametrize("training", [False, True])
def test_compiles_as_one_graph(graph: Graph, images: torch.Tensor, training: bool) -> None:
    module, eager = to_torch(graph).train(training), to_torch(graph).train(training)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for batch in (images, images[:3]):
        torch.testing.assert_close(compiled(batch), eager(batch))
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, eager.state_dict()[name])


def test_intermediate_results_are_freed() -> None:
    graph = make_graph(
        [helper.make_node("Relu", ["x"], ["h0"])]
        + [helper.make_node("Tanh", [f"h{i}"], [f"h{i + 1}"] if i < 5 else ["y"]) for i in range(6)],
        {},
        ["batch", 2],
    )
    module = to_torch(graph)
    assert [step.released for step in module._steps] == [("x",), *((f"h{i}",) for i in range(6))]


def test_shared_weight_is_one_parameter() -> None:
    graph = _linear_graph(("w", "v"))
    shared = make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])],
        {"w": graph.weights["w"]},
        ["batch", 4],
    )
    module = to_torch(shared)
    x = torch.ones(1, 4)
    module(x).sum().backward()
    (weight,) = module.parameters()
    reference = torch.from_numpy(graph.weights["w"].copy()).requires_grad_()
    (x @ reference @ reference).sum().backward()  # type: ignore[no-untyped-call]  # torch's is unannotated
    torch.testing.assert_close(weight.grad, reference.grad)


def test_alias_of_a_weight_is_the_weight() -> None:
    weight = np.eye(4, dtype=np.float32)
    nodes = [
        helper.make_node("Identity", ["w"], ["alias"]),
        helper.make_node("Transpose", ["alias"], ["turned"]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]
    module = to_torch(make_graph(nodes, {"w": weight}, ["batch", 4]))
    assert [name for name, _ in module.named_parameters()] == ["w"]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a.b", "a.b.c"),
        ("train", "forward", "source_graph", "_steps", "training"),
        ("", ".", "..", "a..b", ".a", "a."),
        ("onnx::MatMul_17", "/layer/0/w", "onnx%3Aa", "a%2Eb", "a.b", "a"),
        ("x.weight.grad", "x._parameters.y", "x.0.1"),
    ],
)
def test_any_name_finds_a_place(names: tuple[str, ...]) -> None:
    names = tuple(name for name in names if name)
    graph = _linear_graph(names)
    module = to_torch(graph)
    keys = module.state_keys()
    assert set(keys) == set(names)
    assert sorted(keys.values()) == sorted(module.state_dict())
    for name, key in keys.items():
        np.testing.assert_array_equal(module.state_dict()[key].numpy(), graph.weights[name])
    x = np.ones((2, 4), np.float32)
    assert relative_difference(module(torch.from_numpy(x)), run_runtime(graph, x)[0]) < 1e-5
    assert from_torch(module).to_bytes() == graph.to_bytes()


def test_constants_that_are_not_trained_stay_out_of_the_state_dict() -> None:
    weights: dict[str, Array] = {
        "gain": np.array(0.5, np.float32),
        "shift": np.array([1.0, 2.0, 3.0], np.float32),
        "order": np.array([2, 0, 1], np.int64),
        "spread": np.array([2.0, 3.0, 4.0], np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["a"]),
        helper.make_node("Add", ["a", "shift"], ["b"]),
        helper.make_node("Gather", ["b", "order"], ["c"], axis=1),
        helper.make_node("Div", ["c", "spread"], ["y"]),
    ]
    graph = make_graph(nodes, weights, ["batch", 3])
    module = to_torch(graph)
    assert set(module.state_dict()) == {"shift"}
    assert set(dict(module.named_buffers())) == {"gain", "order", "spread"}
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert relative_difference(module(torch.from_numpy(x)), run_runtime(graph, x)[0]) < 1e-6


def test_several_outputs_come_as_a_tuple() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    module = to_torch(make_graph(nodes, {}, ["batch", 2], outputs=("y", "z")))
    y, z = module(torch.tensor([[1.0, -1.0]]))
    assert y.tolist() == [[1.0, 0.0]]
    assert z.tolist() == [[-1.0, 0.0]]


def test_wrong_number_of_inputs_is_refused(graph: Graph, images: torch.Tensor) -> None:
    with pytest.raises(ModelError, match="got 2 inputs; it takes 1"):
        to_torch(graph)(images, images)


def test_momentum_outside_the_unit_interval_is_refused(graph: Graph) -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        to_torch(graph).set_statistics_momentum(1.5)


def test_module_moves_into_other_modules(graph: Graph, images: torch.Tensor) -> None:
    wrapped = nn.Sequential(to_torch(graph), nn.Softmax(dim=1))
    again = nn.Sequential(to_torch(graph), nn.Softmax(dim=1))
    again.load_state_dict({**wrapped.state_dict(), "0.bn1.num_batches_tracked": torch.tensor(3)})
    assert torch.equal(wrapped(images), again(images))


def test_numbers_in_the_code_of_the_model_are_not_trained() -> None:
    name = "/block/blur/Constant_9_output_0"
    nodes = [helper.make_node("Mul", ["x", "scale"], ["h"]), helper.make_node("Add", ["h", name], ["y"])]
    values = np.array([1, 2], np.float32)
    module = to_torch(make_graph(nodes, {"scale": values, name: values}, ["batch", 2]))
    assert [key for key, _ in module.named_parameters()] == ["scale"]
    assert module.state_dict().keys() == {"scale"}
