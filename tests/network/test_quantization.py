"""QuantizeLinear and DequantizeLinear: the integers of ONNX Runtime, and gradients that go straight through."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph
from deploycompress.network import from_torch, to_torch
from tests.network.build import make_graph, run_runtime

SHAPE = (2, 3, 4, 5)
TYPES = {"uint8": (np.uint8, TensorProto.UINT8), "int8": (np.int8, TensorProto.INT8)}


def _values(seed: int, steps: int) -> Array:
    """Draw values many of which lie half way between two steps of 0.25, and some far outside any range."""
    rng = np.random.default_rng(seed)
    drawn = np.where(
        rng.random(SHAPE) < 0.5, rng.normal(0, steps, SHAPE), rng.integers(-2 * steps, 2 * steps, SHAPE) + 0.5
    )
    return np.asarray(0.25 * drawn, np.float32)


def _grid(kind: str, axis: int | None, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    dtype = TYPES[kind][0]
    shape = () if axis is None else (SHAPE[axis],)
    limits = np.iinfo(dtype)
    scale = rng.choice(np.array([0.25, 0.5, 0.0123, 1.7], np.float32), shape)
    return {
        "scale": np.asarray(scale, np.float32),
        "zero": np.asarray(rng.integers(limits.min, limits.max + 1, shape), dtype),
    }


def _pair(axis: int | None, *, source: str = "x", prefix: str = "") -> list[onnx.NodeProto]:
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}  # Any: as make_node has it
    grid = [f"{prefix}scale", f"{prefix}zero"]
    return [
        helper.make_node("QuantizeLinear", [source, *grid], [f"{prefix}codes"], **attributes),
        helper.make_node("DequantizeLinear", [f"{prefix}codes", *grid], [f"{prefix}y"], **attributes),
    ]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(TYPES)),
    axis=st.sampled_from([None, 0, 1, -1]),
    opset=st.sampled_from([13, 17, 19, 21]),
    seed=st.integers(0, 10_000),
)
def test_codes_and_values_are_those_of_onnx_runtime(kind: str, axis: int | None, opset: int, seed: int) -> None:
    weights, x = _grid(kind, axis, seed), _values(seed, 200)
    codes = make_graph(_pair(axis)[:1], weights, SHAPE, outputs=["codes"], opset=opset, output_dtype=TYPES[kind][1])
    values = make_graph(_pair(axis), weights, SHAPE, opset=opset)
    for graph in (codes, values):
        got = to_torch(graph)(torch.from_numpy(x))
        expected = run_runtime(graph, x)[0]
        assert got.numpy().dtype == expected.dtype
        np.testing.assert_array_equal(got.numpy(), expected)


def test_halves_go_to_the_even_neighbour_and_the_rest_saturates() -> None:
    graph = make_graph(
        _pair(None)[:1],
        {"scale": np.array(2, np.float32), "zero": np.array(3, np.int8)},
        [6],
        outputs=["codes"],
        output_dtype=TensorProto.INT8,
    )
    x = torch.tensor([1.0, 3.0, 5.0, -1.0, 1e9, -1e9])
    assert to_torch(graph)(x).tolist() == [3, 5, 5, 3, 127, -128]


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("kind", TYPES)
def test_a_pair_passes_gradients_but_where_it_clips(kind: str, axis: int | None) -> None:
    weights = _grid(kind, axis, 3)
    x = torch.from_numpy(_values(5, 300)).requires_grad_()
    upstream = torch.from_numpy(np.random.default_rng(6).standard_normal(SHAPE).astype(np.float32))
    to_torch(make_graph(_pair(axis), weights, SHAPE))(x).backward(upstream)
    limits = np.iinfo(weights["zero"].dtype)
    clipped = 0
    for place in np.ndindex(*SHAPE):
        at = () if axis is None else (place[axis],)
        code = round(x[place].item() / float(weights["scale"][at])) + int(weights["zero"][at])
        expected = upstream[place].item() if limits.min <= code <= limits.max else 0.0
        clipped += expected == 0.0
        assert x.grad is not None
        assert x.grad[place].item() == expected
    assert 0 < clipped < math.prod(SHAPE)


def test_quantiser_and_dequantiser_of_different_grids_pass_the_ratio_of_their_steps() -> None:
    nodes = _pair(None)
    nodes[1].input[1] = "other"
    weights: dict[str, Array] = {
        "scale": np.array(0.5, np.float32),
        "other": np.array(0.75, np.float32),
        "zero": np.array(10, np.uint8),
    }
    x = torch.tensor([[-100.0, 0.3, 1.26, 200.0]], requires_grad=True)
    y = to_torch(make_graph(nodes, weights, [1, 4]))(x)
    np.testing.assert_array_equal(
        y.detach().numpy(), run_runtime(make_graph(nodes, weights, [1, 4]), x.detach().numpy())[0]
    )
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.5, 1.5, 0.0]]


def test_integers_may_flow_through_what_only_moves_them() -> None:
    nodes = _pair(None)
    nodes[1].input[0] = "moved"
    nodes.insert(1, helper.make_node("Transpose", ["codes"], ["moved"], perm=[0, 2, 3, 1]))
    graph = make_graph(nodes, _grid("int8", None, 1), SHAPE)
    x = _values(2, 100)
    np.testing.assert_array_equal(to_torch(graph)(torch.from_numpy(x)).numpy(), run_runtime(graph, x)[0])


def _trainable() -> Graph:
    """A convolution with a float weight and its input behind pairs, the bias float."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        *_pair(None),
        *_pair(0, source="conv.weight", prefix="w_"),
        helper.make_node("Conv", ["y", "w_y", "conv.bias"], ["out"], pads=[1, 1, 1, 1]),
    ]
    weights: dict[str, Array] = {
        "conv.weight": weight,
        "conv.bias": rng.standard_normal(4).astype(np.float32),
        "scale": np.array(0.03, np.float32),
        "zero": np.array(120, np.uint8),
        "w_scale": (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32),
        "w_zero": np.zeros(4, np.int8),
    }
    return make_graph(nodes, weights, ["batch", 3, 6, 6], outputs=["out"])


def test_a_weight_behind_a_pair_is_trained_and_its_scale_is_not() -> None:
    module = to_torch(_trainable())
    assert {name for name, _ in module.named_parameters()} == {"conv.weight", "conv.bias"}
    assert set(module.state_dict()) == {"conv.weight", "conv.bias", "scale", "zero", "w_scale", "w_zero"}
    module(torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    weight = module.get_parameter("conv.weight")
    assert weight.grad is not None
    assert bool((weight.grad != 0).all())


def test_scales_written_in_place_count_at_once_and_are_written_back() -> None:
    graph = _trainable()
    module = to_torch(graph)
    images = np.random.default_rng(1).standard_normal((2, 3, 6, 6)).astype(np.float32)
    with torch.no_grad():
        module.get_buffer("scale").mul_(3)
        module.get_buffer("zero").fill_(60)
        module.get_buffer("w_scale").mul_(torch.tensor([1.0, 5.0, 2.0, 9.0]))
    written = from_torch(module)
    assert written.weights["zero"].dtype == np.uint8
    assert written.weights["zero"] == 60
    assert written.weights["scale"] == graph.weights["scale"] * np.float32(3)
    factors = np.array([1, 5, 2, 9], np.float32)
    np.testing.assert_array_equal(written.weights["w_scale"], graph.weights["w_scale"] * factors)
    got = module(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_array_equal(got, to_torch(written)(torch.from_numpy(images)).detach().numpy())
    assert not np.allclose(got, to_torch(graph)(torch.from_numpy(images)).detach().numpy())


def test_a_finished_layer_runs_on_its_integers() -> None:
    rng = np.random.default_rng(2)
    steps = rng.uniform(0.01, 0.05, 4).astype(np.float32)
    nodes = [
        *_pair(None),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_y"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale"], ["b_y"], axis=0),
        helper.make_node("Conv", ["y", "w_y", "b_y"], ["out"]),
    ]
    weights: dict[str, Array] = {
        "scale": np.array(0.03, np.float32),
        "zero": np.array(120, np.uint8),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "w_scale": steps,
        "w_zero": np.zeros(4, np.int8),
        "b": rng.integers(-5000, 5000, 4).astype(np.int32),
        "b_scale": np.float32(0.03) * steps,
    }
    graph = make_graph(nodes, weights, ["batch", 3, 6, 6], outputs=["out"])
    module = to_torch(graph)
    assert not list(module.parameters())
    images = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(
        module(torch.from_numpy(images)).numpy(), run_runtime(graph, images)[0], rtol=1e-5, atol=1e-5
    )


def test_rounding_is_done_in_single_precision_whatever_flows() -> None:
    graph = make_graph(_pair(None), {"scale": np.array(0.01, np.float32), "zero": np.array(128, np.uint8)}, [1000])
    x = torch.linspace(-1.3, 1.3, 1000).bfloat16()
    got = to_torch(graph)(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, to_torch(graph)(x.float()).bfloat16())


def test_gradients_lie_in_memory_as_the_values_do() -> None:
    module = to_torch(make_graph(_pair(None), _grid("uint8", None, 0), SHAPE))
    x = torch.from_numpy(_values(0, 50)).contiguous(memory_format=torch.channels_last).requires_grad_()
    (found,) = torch.autograd.grad(module(x), x, torch.ones(SHAPE))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_scale_for_each_block_is_refused() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "scale"], ["y"], axis=1, block_size=2, name="blocked")
    graph = make_graph([node], {"scale": np.ones((2, 2), np.float32)}, [2, 4], opset=21, output_dtype=TensorProto.UINT8)
    with pytest.raises(ModelError, match=r"'blocked'.*a scale for each block"):
        to_torch(graph)


@pytest.mark.parametrize("axis", [None, 1])
def test_shapes_that_the_graph_leaves_open_are_found(axis: int | None) -> None:
    relu = helper.make_node("Relu", ["x"], ["r"])
    graph = make_graph([relu, *_pair(axis, source="r")], _grid("int8", axis, 4), SHAPE)
    x = torch.from_numpy(_values(4, 100))
    bare = replace(graph, shapes={"x": SHAPE})
    assert torch.equal(to_torch(bare)(x), to_torch(graph)(x))
