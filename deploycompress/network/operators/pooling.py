"""Pooling over windows and over whole feature maps."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import Kernel, NodeContext, Operator
from deploycompress.network.operators.windows import WINDOW_ATTRIBUTES, Axis, torch_pads, window_axes

_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _axes(context: NodeContext) -> tuple[Axis, ...]:
    axes = window_axes(context, context.ints("kernel_shape", []))
    if len(axes) not in _MAX_POOLS:
        raise context.refuse(f"pools {len(axes)} axes; known are 1, 2 and 3")
    return axes


def _torch_can_pad(axes: tuple[Axis, ...]) -> bool:
    return all(axis.before == axis.after and 2 * axis.before <= axis.kernel for axis in axes)


def _covering_pads(axes: tuple[Axis, ...], *, ceil: bool) -> list[int]:
    """Pad so that floor mode visits exactly the windows that ONNX counts."""
    pairs = []
    for axis in axes:
        reach = (axis.steps(ceil=ceil) - 1) * axis.stride + axis.extent
        pairs.append((axis.before, reach - axis.size - axis.before))
    return torch_pads(pairs)


def _max_pool(context: NodeContext) -> Kernel:
    if context.has_output(1):
        raise context.refuse("asks for the positions of the maxima")
    axes, ceil = _axes(context), bool(context.attribute("ceil_mode", 0))
    pool = _MAX_POOLS[len(axes)]
    kernel, stride = tuple(axis.kernel for axis in axes), tuple(axis.stride for axis in axes)
    dilation = tuple(axis.dilation for axis in axes)
    direct = _torch_can_pad(axes)
    padding = tuple(axis.before for axis in axes)
    pads = _covering_pads(axes, ceil=ceil)

    def run(x: Tensor) -> Tensor:
        if not x.is_floating_point():  # torch pools floats only; float32 holds every 8 bit integer
            return run(x.to(torch.float32)).to(x.dtype)
        if direct:
            return pool(x, kernel, stride, padding, dilation, ceil)
        return pool(F.pad(x, pads, value=-math.inf), kernel, stride, 0, dilation)

    return run


def _average_pool(context: NodeContext) -> Kernel:
    axes = _axes(context)
    ceil, with_pads = bool(context.attribute("ceil_mode", 0)), bool(context.attribute("count_include_pad", 0))
    if _torch_can_pad(axes) and all(axis.dilation == 1 for axis in axes):
        pool = _AVERAGE_POOLS[len(axes)]
        kernel, stride = tuple(axis.kernel for axis in axes), tuple(axis.stride for axis in axes)
        padding = tuple(axis.before for axis in axes)
        return lambda x: pool(x, kernel, stride, padding, ceil, with_pads)
    return _summed_average_pool(axes, ceil=ceil, with_pads=with_pads)


def _summed_average_pool(axes: tuple[Axis, ...], *, ceil: bool, with_pads: bool) -> Kernel:
    """Add shifted copies of the input, then divide by how many counted positions each window has."""
    pads = _covering_pads(axes, ceil=ceil)
    counts = [_counted(axis, axis.steps(ceil=ceil), with_pads=with_pads) for axis in axes]
    offsets = list(itertools.product(*(range(0, axis.extent, axis.dilation) for axis in axes)))
    cuts = [_cut(axes, place, ceil=ceil) for place in offsets]

    def run(x: Tensor) -> Tensor:
        padded = F.pad(x, pads)
        total = padded[cuts[0]]
        for cut in cuts[1:]:
            total = total + padded[cut]
        for position, count in enumerate(counts):
            behind = [1] * (len(counts) - 1 - position)
            total = total / torch.tensor(count, dtype=x.dtype, device=x.device).reshape(-1, *behind)
        return total

    return run


def _cut(axes: tuple[Axis, ...], place: tuple[int, ...], *, ceil: bool) -> tuple[slice, ...]:
    """Select, for every window at once, the element at one place of the window."""
    ends = [start + (axis.steps(ceil=ceil) - 1) * axis.stride + 1 for start, axis in zip(place, axes, strict=True)]
    strides = [axis.stride for axis in axes]
    return (slice(None), slice(None), *map(slice, place, ends, strides))


def _counted(axis: Axis, steps: int, *, with_pads: bool) -> list[int]:
    first, last = (-axis.before, axis.size + axis.after) if with_pads else (0, axis.size)
    starts = [step * axis.stride - axis.before for step in range(steps)]
    return [sum(first <= start + tap * axis.dilation < last for tap in range(axis.kernel)) for start in starts]


def _global_average_pool(context: NodeContext) -> Kernel:
    dims = tuple(range(2, context.rank()))
    return lambda x: x.mean(dim=dims, keepdim=True)


def _global_max_pool(context: NodeContext) -> Kernel:
    dims = tuple(range(2, context.rank()))
    return lambda x: x.amax(dim=dims, keepdim=True)


POOLING = {
    # storage_order only says how positions of maxima are numbered, and those are refused
    "MaxPool": Operator(build=_max_pool, known=22, attributes=WINDOW_ATTRIBUTES | {"ceil_mode", "storage_order"}),
    "AveragePool": Operator(
        build=_average_pool, known=22, attributes=WINDOW_ATTRIBUTES | {"ceil_mode", "count_include_pad"}
    ),
    "GlobalAveragePool": Operator(build=_global_average_pool, known=22),
    "GlobalMaxPool": Operator(build=_global_max_pool, known=22),
}
