"""Operators that give the same numbers another shape; the batch axis may have any size."""

from __future__ import annotations

import math

from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator, plain


def _flatten(context: NodeContext) -> Kernel:
    rank = context.rank()
    axis = int(context.attribute("axis", 1))
    axis = rank if axis == rank else context.axis(axis, rank)
    if axis == 1 and rank > 1:
        return lambda x: x.flatten(1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _reshape(context: NodeContext) -> Kernel:
    target = context.constant_ints(1) or ()
    if 0 not in target or context.attribute("allowzero", 0):
        return lambda x: x.reshape(target)
    return lambda x: x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(target)])


def _transpose(context: NodeContext) -> Kernel:
    order = context.ints("perm", range(context.rank())[::-1])
    return lambda x: x.permute(order)


def _listed_axes(context: NodeContext) -> tuple[int, ...] | None:
    return context.constant_ints(1) or context.ints("axes", ()) or None


def _squeeze(context: NodeContext) -> Kernel:
    shape = context.shape(0)
    listed = _listed_axes(context)
    if listed is None and shape[:1] == (1,):
        raise context.refuse("squeezes every axis of size one, so that its result depends on the batch size")
    listed = tuple(axis for axis, size in enumerate(shape) if size == 1) if listed is None else listed
    axes = tuple(context.axis(axis, len(shape)) for axis in listed)
    return lambda x: x.squeeze(axes)


def _unsqueeze(context: NodeContext) -> Kernel:
    listed = _listed_axes(context) or ()
    rank = context.rank() + len(listed)
    axes = sorted(context.axis(axis, rank) for axis in listed)

    def run(x: Tensor) -> Tensor:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return run


def _expand(context: NodeContext) -> Kernel:
    target = context.constant_ints(1) or ()
    missing = max(len(target) - context.rank(), 0)

    def run(x: Tensor) -> Tensor:
        shape = (1,) * missing + tuple(x.shape)
        reach = (1,) * (len(shape) - len(target)) + target  # broadcasting goes both ways
        return x.expand([size if wanted == 1 else wanted for size, wanted in zip(shape, reach, strict=True)])

    return run


def _tile(context: NodeContext) -> Kernel:
    repeats = context.constant_ints(1) or ()
    return lambda x: x.repeat(repeats)


def _depth_to_space(context: NodeContext) -> Kernel:
    block, channels_first = int(context.attribute("blocksize", 1)), _is_channels_first(context)

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        inner = channels // block**2
        if channels_first:
            parts = x.reshape(batch, inner, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
        else:
            parts = x.reshape(batch, block, block, inner, height, width).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(batch, inner, height * block, width * block)

    return run


def _space_to_depth(context: NodeContext) -> Kernel:
    block, channels_first = int(context.attribute("blocksize", 1)), _is_channels_first(context)
    order = (0, 1, 3, 5, 2, 4) if channels_first else (0, 3, 5, 1, 2, 4)

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = x.reshape(batch, channels, height // block, block, width // block, block).permute(order)
        return parts.reshape(batch, channels * block**2, height // block, width // block)

    return run


def _is_channels_first(context: NodeContext) -> bool:
    mode = context.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise context.refuse(f"has mode {mode!r}; known are DCR and CRD")
    return mode == "CRD"


def _identity(x: Tensor) -> Tensor:
    return x


_BLOCKS = frozenset({"blocksize", "mode"})

SHAPE = {
    "Identity": Operator(build=plain(_identity), known=25, moves=True),
    "Flatten": Operator(build=_flatten, known=25, attributes=frozenset({"axis"}), moves=True),
    "Reshape": Operator(build=_reshape, known=25, attributes=frozenset({"allowzero"}), static=(1,), moves=True),
    "Transpose": Operator(build=_transpose, known=25, attributes=frozenset({"perm"}), moves=True),
    "Squeeze": Operator(build=_squeeze, known=25, attributes=frozenset({"axes"}), static=(1,), moves=True),
    "Unsqueeze": Operator(build=_unsqueeze, known=25, attributes=frozenset({"axes"}), static=(1,), moves=True),
    "Expand": Operator(build=_expand, known=13, static=(1,), moves=True),
    "Tile": Operator(build=_tile, known=13, static=(1,)),
    "DepthToSpace": Operator(build=_depth_to_space, known=28, attributes=_BLOCKS),
    "SpaceToDepth": Operator(build=_space_to_depth, known=28, attributes=_BLOCKS),
}
