"""What the node tests leave open: older opsets, odd windows, and gradients."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from deploycompress.graph import Array
from deploycompress.network import to_torch
from tests.network.build import make_graph, relative_difference, run_runtime

SHAPE = (2, 4, 6, 5)


def _images(shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


OLD_FORMS = {
    "squeeze": (
        helper.make_node("Squeeze", ["h"], ["y"], axes=[1]),
        [helper.make_node("Unsqueeze", ["x"], ["h"], axes=[1])],
    ),
    "sum": (helper.make_node("ReduceSum", ["x"], ["y"], axes=[-1], keepdims=0), []),
    "mean": (helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3]), []),
    "max": (helper.make_node("ReduceMax", ["x"], ["y"], axes=[1]), []),
    "softmax": (helper.make_node("Softmax", ["x"], ["y"], axis=1), []),
    "log_softmax": (helper.make_node("LogSoftmax", ["x"], ["y"]), []),
    "dropout": (helper.make_node("Dropout", ["x"], ["y"], ratio=0.4), []),
    "split": (
        helper.make_node("Concat", ["b", "a"], ["y"], axis=1),
        [helper.make_node("Split", ["x"], ["a", "b"], axis=1, split=[1, 3])],
    ),
}


@pytest.mark.parametrize("name", OLD_FORMS)
def test_attributes_of_opset_eleven(name: str) -> None:
    last, before = OLD_FORMS[name]
    graph = make_graph([*before, last], {}, ["batch", *SHAPE[1:]], opset=11)
    images = _images()
    assert relative_difference(to_torch(graph)(torch.from_numpy(images)), run_runtime(graph, images)[0]) < 1e-5


windows = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))


def _window_attributes(first: tuple[int, ...], second: tuple[int, ...]) -> dict[str, Any]:  # Any: as make_node has it
    kernels, strides, dilations, befores, afters = zip(first, second, strict=True)
    return {
        "kernel_shape": list(kernels),
        "strides": list(strides),
        "dilations": list(dilations),
        "pads": [*befores, *afters],
    }


def _fits(attributes: dict[str, Any]) -> bool:
    return all(
        attributes["dilations"][axis] * (attributes["kernel_shape"][axis] - 1) + 1 <= SHAPE[2 + axis]
        and max(attributes["pads"][axis::2]) < attributes["kernel_shape"][axis]
        for axis in range(2)
    )


@settings(max_examples=60, deadline=None)
@given(first=windows, second=windows, groups=st.sampled_from([1, 2, 4]))
def test_convolution_with_any_window(first: tuple[int, ...], second: tuple[int, ...], groups: int) -> None:
    attributes = _window_attributes(first, second)
    assume(_fits(attributes))
    weights = {"w": _images((8, 4 // groups, *attributes["kernel_shape"])), "b": _images((8,))}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups, **attributes)
    _assert_equal(node, weights)


@settings(max_examples=60, deadline=None)
@given(first=windows, second=windows, groups=st.sampled_from([1, 2]))
def test_transposed_convolution_with_any_window(first: tuple[int, ...], second: tuple[int, ...], groups: int) -> None:
    attributes = _window_attributes(first, second)
    assume(_fits(attributes))
    weights = {"w": _images((4, 3, *attributes["kernel_shape"])), "b": _images((3 * groups,))}
    _assert_equal(helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], group=groups, **attributes), weights)


@settings(max_examples=60, deadline=None)
@given(first=windows, second=windows, ceil=st.booleans())
def test_max_pool_with_any_window(first: tuple[int, ...], second: tuple[int, ...], ceil: bool) -> None:
    attributes = _window_attributes(first, second)
    assume(_fits(attributes))
    _assert_equal(helper.make_node("MaxPool", ["x"], ["y"], ceil_mode=int(ceil), **attributes), {})


@settings(max_examples=60, deadline=None)
@given(first=windows, second=windows, with_pads=st.booleans(), ceil=st.booleans())
def test_average_pool_with_any_window(
    first: tuple[int, ...], second: tuple[int, ...], with_pads: bool, ceil: bool
) -> None:
    attributes = _window_attributes(first, second)
    assume(_fits(attributes))
    attributes |= {"count_include_pad": int(with_pads), "ceil_mode": int(ceil)}
    _assert_equal(helper.make_node("AveragePool", ["x"], ["y"], **attributes), {}, opset=19)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool", "ConvTranspose"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_pads(op: str, mode: str, stride: int) -> None:
    weights = {"w": _images((4, 4, 3, 2))} if op.startswith("Conv") else {}
    node = helper.make_node(op, ["x", *weights], ["y"], auto_pad=mode, kernel_shape=[3, 2], strides=[stride] * 2)
    _assert_equal(node, weights)


def _assert_equal(node: onnx.NodeProto, weights: dict[str, Array], *, opset: int = 17) -> None:
    graph = make_graph([node], weights, ["batch", *SHAPE[1:]], opset=opset)
    images = _images()
    assert relative_difference(to_torch(graph)(torch.from_numpy(images)), run_runtime(graph, images)[0]) < 1e-5


GRADIENTS: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "convolution": (
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[0, 1, 1, 0], strides=[2, 1])],
        {"w": _images((3, 4, 2, 2)), "b": _images((3,))},
    ),
    "linear": ([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _images((5, 3))}),
    "layer_norm": (
        [helper.make_node("LayerNormalization", ["x", "w", "b"], ["y"], axis=-1)],
        {"w": _images((5,)), "b": _images((5,))},
    ),
    "instance_norm": (
        [helper.make_node("InstanceNormalization", ["x", "w", "b"], ["y"])],
        {"w": _images((4,)), "b": _images((4,))},
    ),
    "parametric_relu": ([helper.make_node("PRelu", ["x", "w"], ["y"])], {"w": _images((4, 1, 1))}),
    "reflected": (
        [helper.make_node("Pad", ["x", "pads"], ["y"], mode="reflect")],
        {"pads": np.array([0, 0, 1, 2, 0, 0, 2, 1])},
    ),
    "average": (
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[0, 1, 1, 0])],
        {},
    ),
    "resized": (
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")],
        {"scales": np.array([1, 1, 1.5, 2], np.float32)},
    ),
    "length": ([helper.make_node("ReduceL2", ["x"], ["y"], axes=[1, 2])], {}),
    "absolute_sum": ([helper.make_node("ReduceL1", ["x"], ["y"], axes=[3])], {}),
    "square_sum": ([helper.make_node("ReduceSumSquare", ["x"], ["y"], axes=[1, 3], keepdims=0)], {}),
    "product": ([helper.make_node("ReduceProd", ["x"], ["y"], axes=[1, 3])], {}),
    "soft_maximum": ([helper.make_node("ReduceLogSumExp", ["x"], ["y"], axes=[2, 3])], {}),
    "contraction": (
        [helper.make_node("Einsum", ["x", "w"], ["y"], equation="b c h w, w d -> b d h c")],
        {"w": _images((5, 3))},
    ),
    "running_sum": (
        [helper.make_node("CumSum", ["x", "axis"], ["y"], exclusive=1, reverse=1)],
        {"axis": np.array(2)},
    ),
    "triangle": ([helper.make_node("Trilu", ["x", "k"], ["y"], upper=0)], {"k": np.array(1)}),
    "largest": ([helper.make_node("TopK", ["x", "k"], ["y", "places"], axis=1)], {"k": np.array([2])}),
    "written": (
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2, 3]),
            helper.make_node("Slice", ["turned", "zero", "two"], ["some"]),
            helper.make_node("ScatterND", ["turned", "places", "some"], ["y"]),
        ],
        {"zero": np.array([0]), "two": np.array([2]), "places": np.array([[3], [-3]])},
    ),
    "waves": ([helper.make_node("Sin", ["x"], ["s"]), helper.make_node("Atan", ["s"], ["y"])], {}),
    "sampled": (
        [
            helper.make_node("Slice", ["x", "zero", "two", "one"], ["pair"]),
            helper.make_node("Transpose", ["pair"], ["grid"], perm=[0, 2, 3, 1]),
            helper.make_node("Tanh", ["grid"], ["places"]),
            helper.make_node("GridSample", ["x", "places"], ["y"], mode="bilinear", padding_mode="border"),
        ],
        {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])},
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_reach_inputs_and_parameters(name: str) -> None:
    nodes, weights = GRADIENTS[name]
    graph = make_graph(nodes, weights, ["batch", 4, 6, 5])
    module = to_torch(graph).double()
    x = torch.from_numpy(_images((1, 4, 6, 5))).double().requires_grad_()
    names, parameters = zip(*module.named_parameters(), strict=True) if weights.keys() & {"w"} else ((), ())

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))
        return result

    assert set(names) == {key for key in weights if key in ("w", "b")}
    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_length_of_nothing_has_a_finite_gradient() -> None:
    graph = make_graph([helper.make_node("ReduceL2", ["x"], ["y"], axes=[1])], {}, ["batch", 4, 6, 5])
    x = torch.zeros(SHAPE, requires_grad=True)
    to_torch(graph)(x).sum().backward()
    assert x.grad is not None
    assert not x.grad.any()
