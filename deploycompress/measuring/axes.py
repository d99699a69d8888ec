"""Axes without a size: the batch is measured at one, all others need one given."""

from __future__ import annotations

import onnx

from deploycompress.errors import MissingShapeError, UsageError


def batch_axes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Name the symbolic batch axes of a model's inputs.

    Raises:
        MissingShapeError: another axis than the batch has no fixed size.
    """
    names = set()
    for value in _inputs(model):
        dims = value.type.tensor_type.shape.dim
        for position, axis in enumerate(dims):
            if axis.HasField("dim_value"):
                continue
            if position > 0:
                called = f" ({axis.dim_param!r})" if axis.dim_param else ""
                shape = ",".join(_example(number, dim) for number, dim in enumerate(dims))
                raise MissingShapeError(
                    f"Axis {position}{called} of input {value.name!r} has no fixed size, and latency depends on it; "
                    f"give the sizes, such as --input-shape {shape}."
                )
            if axis.dim_param:
                names.add(axis.dim_param)
    return tuple(sorted(names))


def with_fixed_axes(model: onnx.ModelProto, input_shape: tuple[int, ...]) -> bool:
    """Write sizes into the open axes of a model's first input, and wherever else their names stand.

    Args:
        model: is changed.
        input_shape: size of each axis, the batch first.

    Returns:
        Whether the model is another one now; an open batch of one needs no change.

    Raises:
        UsageError: the shape does not fit the model.
    """
    inputs = _inputs(model)
    if not inputs:
        raise UsageError("The model has no input; measure it without --input-shape.")
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) != len(input_shape) or not all(map(_fits, dims, input_shape)):
        written = [_written(axis) for axis in dims]
        raise UsageError(
            f"--input-shape {','.join(map(str, input_shape))} does not fit input {inputs[0].name!r} with the shape "
            f"[{', '.join(written)}]; give one size above 0 for each axis, and the fixed ones as they are."
        )
    is_open = [not axis.HasField("dim_value") for axis in dims]
    if not any(is_open[1:]) and (not is_open[:1] or not is_open[0] or input_shape[0] == 1):
        return False
    sizes: dict[str, int] = {}
    for axis, size in zip(dims, input_shape, strict=True):
        if axis.dim_param and sizes.setdefault(axis.dim_param, size) != size:
            raise UsageError(
                f"--input-shape gives the axis {axis.dim_param!r} of input {inputs[0].name!r} the sizes "
                f"{sizes[axis.dim_param]} and {size}; it is one axis, so give one size."
            )
        axis.dim_value = size
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in sizes:
                axis.dim_value = sizes[axis.dim_param]
    return True


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _fits(axis: onnx.TensorShapeProto.Dimension, size: int) -> bool:
    return size > 0 and (not axis.HasField("dim_value") or axis.dim_value == size)


def _written(axis: onnx.TensorShapeProto.Dimension) -> str:
    return str(axis.dim_value) if axis.HasField("dim_value") else axis.dim_param or "?"


def _example(position: int, axis: onnx.TensorShapeProto.Dimension) -> str:
    if axis.HasField("dim_value"):
        return str(axis.dim_value)
    return "1" if position == 0 else "224"
