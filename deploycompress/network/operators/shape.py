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
    known = context.sizes(1)
    if known is not None and (0 not in known or context.attribute("allowzero", 0)):
        return lambda x, _target: x.reshape(known)

    def run(x: Tensor, target: tuple[int, ...] | None) -> Tensor:
        target = known if target is None else target
        return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(target or ())])

    return run


def _transpose(context: NodeContext) -> Kernel:
    order = context.ints("perm", range(context.rank())[::-1])
    return lambda x: x.permute(order)


def _listed_axes(context: NodeContext) -> tuple[int, ...] | None:
    return context.constant_ints(1) or context.ints("axes", ()) or None


def _squeeze(context: NodeContext) -> Kernel:
    listed = _listed_axes(context)
    if listed is None and context.shape(0)[:1] == (1,):
        raise context.refuse("squeezes every axis of size one, so that its result depends on the batch size")
    listed = tuple(axis for axis, size in enumerate(context.shape(0)) if size == 1) if listed is None else listed
    axes = tuple(context.axis(axis, context.rank()) for axis in listed)
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
    known = context.sizes(1)

    def run(x: Tensor, target: tuple[int, ...] | None) -> Tensor:
        target = target or known or ()
        shape = (1,) * (len(target) - x.ndim) + tuple(x.shape)
        reach = (1,) * (len(shape) - len(target)) + target
        return x.expand([_broadcast(size, wanted) for size, wanted in zip(shape, reach, strict=True)])

    return run


def _broadcast(size: int, wanted: int) -> int:
    """Broadcast two sizes; a symbolic one is compared only where it must be, because that binds an export to it."""
    if isinstance(wanted, int) and wanted == 1:
        return size
    return wanted if size == 1 else size


def _tile(context: NodeContext) -> Kernel:
    known = context.sizes(1)
    return lambda x, repeats: x.repeat(known if repeats is None else repeats)


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
    "Identity": Operator(build=plain(_identity), known=25, moves=(0,)),
    "Flatten": Operator(build=_flatten, known=25, attributes=frozenset({"axis"}), moves=(0,)),
    "Reshape": Operator(
        build=_reshape, known=25, attributes=frozenset({"allowzero"}), static=(1,), sizes=(1,), moves=(0,)
    ),
    "Transpose": Operator(build=_transpose, known=25, attributes=frozenset({"perm"}), moves=(0,)),
    "Squeeze": Operator(build=_squeeze, known=25, attributes=frozenset({"axes"}), static=(1,), moves=(0,)),
    "Unsqueeze": Operator(build=_unsqueeze, known=25, attributes=frozenset({"axes"}), static=(1,), moves=(0,)),
    "Expand": Operator(build=_expand, known=13, static=(1,), sizes=(1,), moves=(0,)),
    "Tile": Operator(build=_tile, known=13, static=(1,), sizes=(1,)),
    "DepthToSpace": Operator(build=_depth_to_space, known=28, attributes=_BLOCKS),
    "SpaceToDepth": Operator(build=_space_to_depth, known=28, attributes=_BLOCKS),
}
