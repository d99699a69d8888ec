"""Tensors made from numbers, which may follow from the batch size."""

from __future__ import annotations

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor

from deploycompress.network.arrays import tensor_from_array
from deploycompress.network.operator import Kernel, NodeContext, Operator, PassMode


def _filled(context: NodeContext) -> Kernel:
    known, proto = context.sizes(0), context.attribute("value", None)
    array = np.zeros(1, np.float32) if proto is None else numpy_helper.to_array(proto)
    example = tensor_from_array(array, context.node.name)
    fill, dtype = example.item(), example.dtype

    def run(mode: PassMode, sizes: tuple[int, ...] | None) -> Tensor:
        shape = known or () if sizes is None else sizes
        return torch.full(shape, fill, dtype=dtype, device=mode.device)

    return run


def _range(context: NodeContext) -> Kernel:
    if context.attribute("stash_type", 1) != 1:
        raise context.refuse(f"has stash_type {context.attribute('stash_type', 1)}; known is 1 (float32)")
    known = [_number(context, index) for index in range(3)]
    dtype = next((number.dtype for number in known if number is not None), torch.int64)
    bounds = [0 if number is None else number.item() for number in known]

    def run(mode: PassMode, *given: int | None) -> Tensor:
        start, limit, step = (there if value is None else value for value, there in zip(given, bounds, strict=True))
        # one rounding per element, where torch.arange in half precision would round what it counts with
        wide = torch.float64 if dtype.is_floating_point else torch.int64
        return torch.arange(start, limit, step, dtype=wide, device=mode.device).to(dtype)

    return run


def _number(context: NodeContext, index: int) -> Tensor | None:
    if context.node.input(index) in context.computed_sizes:
        return None
    array = context.constant(index)
    if array is None or array.size != 1:
        raise context.refuse(f"takes no single number as its input {index}")
    return tensor_from_array(array, context.node.input(index))


CREATION = {
    "ConstantOfShape": Operator(
        build=_filled, known=25, attributes=frozenset({"value"}), static=(0,), sizes=(0,), uses_mode=True
    ),
    "Range": Operator(
        build=_range,
        known=27,
        attributes=frozenset({"stash_type"}),
        static=(0, 1, 2),
        sizes=(0, 1, 2),
        uses_mode=True,
    ),
}
