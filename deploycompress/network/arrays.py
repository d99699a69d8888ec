"""Carries constants between numpy and torch without changing a bit; knows nothing of graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import Array

# Unsigned 16, 32 and 64 bit integers are missing on purpose: torch can hold but hardly compute with them.
TORCH_TYPES: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}

_NUMPY_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in TORCH_TYPES.values()}


def tensor_from_array(array: Array, name: str) -> Tensor:
    """Copy a numpy array into a fresh tensor of the same element type.

    Args:
        array: any shape; `bfloat16` as `ml_dtypes` defines it.
        name: the constant's name, for the message.

    Raises:
        ModelError: torch cannot compute with the element type.
    """
    _torch_type(array, name)
    copied = np.array(array, order="C", copy=True)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(copied.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copied)


def shape_of_array(array: Array, name: str) -> Tensor:
    """Make a tensor on torch's meta device: shape and element type of an array, without its values.

    Args:
        array: any shape.
        name: the constant's name, for the message.

    Raises:
        ModelError: torch cannot compute with the element type.
    """
    return torch.empty(array.shape, dtype=_torch_type(array, name), device="meta")


def array_from_tensor(tensor: Tensor, like: Array) -> Array:
    """Copy a tensor into a numpy array with the element type of another.

    Args:
        tensor: any shape, device, memory format and floating type.
        like: the array whose element type the result shall have.
    """
    plain = tensor.detach().to(device="cpu", dtype=_NUMPY_NAMES[like.dtype.name]).contiguous()
    if like.dtype.name == "bfloat16":
        return plain.view(torch.int16).numpy().copy().view(like.dtype)
    return plain.numpy().copy()


def _torch_type(array: Array, name: str) -> torch.dtype:
    if array.dtype.name not in _NUMPY_NAMES:
        raise ModelError(
            f"Constant {name!r} has element type {array.dtype.name}; trainable networks hold "
            f"{', '.join(_NUMPY_NAMES)}: convert the model to one of these."
        )
    return _NUMPY_NAMES[array.dtype.name]
