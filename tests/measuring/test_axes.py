"""Axes without a size: refused with the way out, or fixed by a given shape."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from deploycompress.errors import MissingShapeError, UsageError
from deploycompress.measuring.axes import batch_axes, with_fixed_axes


def model(*shapes: list[int | str | None], output: list[int | str | None] | None = None) -> onnx.ModelProto:
    names = [f"x{number}" for number in range(len(shapes))]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output or shapes[0])]
    return helper.make_model(helper.make_graph([helper.make_node("Sum", names, ["y"])], "graph", inputs, outputs))


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [axis.dim_value or axis.dim_param for axis in value.type.tensor_type.shape.dim]


def test_the_batch_alone_may_be_open() -> None:
    assert batch_axes(model(["N", 3, 8, 8])) == ("N",)
    assert batch_axes(model([None, 3])) == ()
    assert batch_axes(model([1, 3])) == ()


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["N", 3, "height", 224], r"Axis 2 \('height'\) of input 'x0' has no fixed size.*--input-shape 1,3,224,224"),
        (["N", 3, None], r"Axis 2 of input 'x0' has no fixed size"),
    ],
)
def test_another_open_axis_is_named_with_what_to_do(axes: list[int | str | None], words: str) -> None:
    with pytest.raises(MissingShapeError, match=words) as caught:
        batch_axes(model(axes))
    assert caught.value.exit_code == 2


def test_a_shape_fixes_the_axes_wherever_their_names_stand() -> None:
    open_model = model(["N", 3, "h", "w"], ["N", 3, "h", 1], output=["N", 3, "h", "w"])
    assert with_fixed_axes(open_model, (1, 3, 32, 48))
    assert [shape(value) for value in open_model.graph.input] == [[1, 3, 32, 48], [1, 3, 32, 1]]
    assert shape(open_model.graph.output[0]) == [1, 3, 32, 48]
    assert batch_axes(open_model) == ()


def test_an_axis_without_a_name_is_fixed_too() -> None:
    open_model = model([None, None])
    assert with_fixed_axes(open_model, (2, 5))
    assert shape(open_model.graph.input[0]) == [2, 5]


@pytest.mark.parametrize("axes", [["N", 3, 8], [None, 3, 8], [1, 3, 8]])
def test_a_model_that_needs_no_shape_stays_byte_for_byte(axes: list[int | str | None]) -> None:
    fixed = model(axes)
    before = fixed.SerializeToString()
    assert not with_fixed_axes(fixed, (1, 3, 8))
    assert fixed.SerializeToString() == before


@pytest.mark.parametrize("given", [(1, 3), (1, 4, 8), (0, 3, 8), (1, 3, 8, 8), (-1, 3, 8)])
def test_a_shape_that_does_not_fit_is_refused(given: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"does not fit input 'x0' with the shape \[N, 3, w\]"):
        with_fixed_axes(model(["N", 3, "w"]), given)


def test_one_axis_has_one_size() -> None:
    with pytest.raises(UsageError, match="'side' of input 'x0' the sizes 8 and 9"):
        with_fixed_axes(model(["N", "side", "side"]), (1, 8, 9))
