"""Sizes that a network computes from its batch while running: right for any batch, symbolic in an export."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph
from deploycompress.network import save_pt2, to_torch
from tests.network.build import make_graph, relative_difference, run_runtime


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


BATCH = [helper.make_node("Shape", ["x"], ["batch_size"], start=0, end=1)]
SIZES: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "expanded_token": (
        [
            *BATCH,
            helper.make_node("Concat", ["batch_size", "rest"], ["sizes"], axis=0),
            helper.make_node("Expand", ["token", "sizes"], ["tokens"]),
            helper.make_node("Concat", ["tokens", "x"], ["joined"], axis=1),
            helper.make_node("Mul", ["joined", "scale"], ["y"]),
        ],
        {
            "rest": _ints(1, 4),
            "token": np.array([[[1, 2, 3, 4]]], np.float32),
            "scale": np.array([1, 2, 3, 4], np.float32),
        },
    ),
    "reshaped": (
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["batch_size"]),
            helper.make_node("Mul", ["batch_size", "six"], ["rows"]),
            helper.make_node("Unsqueeze", ["rows", "zero"], ["row_count"]),
            helper.make_node("Concat", ["row_count", "rest"], ["sizes"], axis=0),
            helper.make_node("Reshape", ["x", "sizes"], ["y"]),
        ],
        {"first": np.array(0), "six": np.array(6), "zero": _ints(0), "rest": _ints(-1)},
    ),
    "tiled": (
        [
            *BATCH,
            helper.make_node("Concat", ["batch_size", "rest"], ["sizes"], axis=0),
            helper.make_node("Tile", ["token", "sizes"], ["y"]),
        ],
        {"rest": _ints(2), "token": np.arange(3, dtype=np.float32)[None]},
    ),
    "halved": (
        [
            *BATCH,
            helper.make_node("Add", ["batch_size", "one"], ["more"]),
            helper.make_node("Div", ["more", "two"], ["half"]),
            helper.make_node("Sub", ["half", "two"], ["start"]),
            helper.make_node("Slice", ["x", "start", "half", "zero"], ["y"]),
        ],
        {"one": _ints(1), "two": _ints(2), "zero": _ints(0)},
    ),
    "filled": (
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Slice", ["shape", "zero", "two"], ["sizes"]),
            helper.make_node(
                "ConstantOfShape", ["sizes"], ["y"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [2.5])
            ),
        ],
        {"zero": _ints(0), "two": _ints(2)},
    ),
    "counted": (
        [
            *BATCH,
            helper.make_node("Squeeze", ["batch_size"], ["count"]),
            helper.make_node("Range", ["zero", "count", "one"], ["places"]),
            helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT),
        ],
        {"zero": np.array(0), "one": np.array(1)},
    ),
    "scaled_by_count": (
        [
            helper.make_node("Size", ["x"], ["count"]),
            helper.make_node("Mod", ["count", "seven"], ["rest"]),
            helper.make_node("Cast", ["rest"], ["factor"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "factor"], ["y"]),
        ],
        {"seven": np.array(7)},
    ),
}


def _graph(name: str) -> Graph:
    nodes, weights = SIZES[name]
    return make_graph(nodes, weights, ["batch", 3, 4])


def _images(batch: int) -> Array:
    return np.random.default_rng(batch).standard_normal((batch, 3, 4), dtype=np.float32)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("name", SIZES)
def test_computed_sizes_follow_the_batch(name: str, batch: int) -> None:
    graph, images = _graph(name), _images(batch)
    assert relative_difference(to_torch(graph)(torch.from_numpy(images)), run_runtime(graph, images)[0]) < 1e-6


@pytest.mark.parametrize("name", ["expanded_token", "reshaped", "tiled", "filled", "scaled_by_count"])
def test_computed_sizes_stay_symbolic_in_an_export(name: str, tmp_path: Path) -> None:
    graph, images = _graph(name), _images(5)
    save_pt2(graph, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    got: torch.Tensor = program(torch.from_numpy(images))
    assert relative_difference(got, run_runtime(graph, images)[0]) < 1e-6


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    # all modules share one forward, of which torch compiles only so many versions in a process
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("name", SIZES)
def test_computed_sizes_survive_pickling_and_compiling(name: str) -> None:
    graph = _graph(name)
    module = pickle.loads(pickle.dumps(to_torch(graph)))
    compiled = torch.compile(module, backend="eager", dynamic=True)
    for batch in (2, 3, 5):
        images = _images(batch)
        got: torch.Tensor = compiled(torch.from_numpy(images))  # type: ignore[no-untyped-call]  # torch has no types here
        assert relative_difference(got, run_runtime(graph, images)[0]) < 1e-6


def test_token_that_is_expanded_over_the_batch_is_trained() -> None:
    module = to_torch(_graph("expanded_token"))
    module(torch.from_numpy(_images(2))).sum().backward()
    parameters = dict(module.named_parameters())
    assert parameters.keys() == {"token", "scale"}
    assert parameters["token"].shape == (1, 1, 4)
    gradient = parameters["token"].grad
    assert gradient is not None
    assert gradient.flatten().tolist() == [2.0, 4.0, 6.0, 8.0]  # two images times the scale


def test_sizes_that_onnx_leaves_open_are_found() -> None:
    nodes = [
        *SIZES["halved"][0][:3],
        helper.make_node("Slice", ["x", "zero", "half", "zero"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2]),
    ]
    graph = make_graph(nodes, {**SIZES["halved"][1], "w": np.ones((2, 3, 3), np.float32)}, ["batch", 3, 4])
    assert -1 in graph.shapes["h"]
    images = _images(4)
    assert relative_difference(to_torch(graph)(torch.from_numpy(images)), run_runtime(graph, images)[0]) < 1e-6


def test_graph_that_does_not_fit_at_batch_one_is_refused() -> None:
    nodes = [
        *SIZES["halved"][0][:3],
        helper.make_node("Slice", ["x", "zero", "half", "zero"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"], name="the_node"),
    ]
    graph = make_graph(nodes, {**SIZES["halved"][1], "w": np.ones((4, 2), np.float32)}, ["batch", 3, 4])
    with pytest.raises(ModelError, match=r"'the_node' \(MatMul, opset 17\) does not take its inputs"):
        to_torch(graph.with_weights({"w": np.ones((5, 2), np.float32)}))


def test_sizes_that_follow_from_the_data_are_refused() -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["count"], to=TensorProto.INT64),
        helper.make_node("Range", ["zero", "count", "one"], ["places"], name="the_node"),
        helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = make_graph(nodes, {"zero": np.array(0), "one": np.array(1)}, ["batch", 3, 4])
    with pytest.raises(ModelError, match=r"'the_node' \(Range, opset 17\) computes its input 1"):
        to_torch(graph)
