"""Reductions over axes that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator


def _reduction(
    reduce: Callable[[Tensor, tuple[int, ...], bool], Tensor], *, needs_elements: bool = False
) -> Callable[[NodeContext], Kernel]:
    def build(context: NodeContext) -> Kernel:
        axes = _axes(context)
        if axes is None:
            return lambda x: x
        shape = context.shape(0)
        if needs_elements and any(shape[axis] == 0 for axis in axes):
            raise context.refuse("looks for an extreme value among no values")
        keep = bool(context.attribute("keepdims", 1))
        return lambda x: reduce(x, axes, keep)

    return build


def _axes(context: NodeContext) -> tuple[int, ...] | None:
    """Axes to reduce; None means none at all, where the node says that empty means none."""
    rank = context.rank()
    given = context.constant_ints(1) or context.ints("axes", ())
    if given:
        return tuple(context.axis(axis, rank) for axis in given)
    return None if context.attribute("noop_with_empty_axes", 0) else tuple(range(rank))


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(dim=axes, keepdim=keep, dtype=x.dtype)  # torch would widen integers


_ATTRIBUTES = frozenset({"axes", "keepdims", "noop_with_empty_axes"})

REDUCTION = {
    "ReduceMean": Operator(
        build=_reduction(lambda x, axes, keep: x.mean(dim=axes, keepdim=keep)),
        known=18,
        attributes=_ATTRIBUTES,
        static=(1,),
    ),
    "ReduceSum": Operator(build=_reduction(_sum), known=13, attributes=_ATTRIBUTES, static=(1,)),
    "ReduceMax": Operator(
        build=_reduction(lambda x, axes, keep: x.amax(dim=axes, keepdim=keep), needs_elements=True),
        known=20,
        attributes=_ATTRIBUTES,
        static=(1,),
    ),
    "ReduceMin": Operator(
        build=_reduction(lambda x, axes, keep: x.amin(dim=axes, keepdim=keep), needs_elements=True),
        known=20,
        attributes=_ATTRIBUTES,
        static=(1,),
    ),
}
