"""Reductions over axes that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator


def _reduction(
    reduce: Callable[[Tensor, tuple[int, ...], bool], Tensor],
    *,
    needs_elements: bool = False,
    changes_single: bool = False,
) -> Callable[[NodeContext], Kernel]:
    def build(context: NodeContext) -> Kernel:
        axes = _axes(context)
        if axes is None and changes_single:
            raise context.refuse("reduces no axes, where ONNX leaves open whether elements change")
        if axes is None:
            return lambda x: x
        if needs_elements and any(context.size(0, axis) == 0 for axis in axes):
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


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(dim=axis, keepdim=keep, dtype=x.dtype)
    return x


def _absolute_sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _sum(x.abs(), axes, keep)


def _square_sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _sum(x * x, axes, keep)


def _length(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    # the root of a sum of squares has no gradient at zero, torch's norm has one there
    length: Tensor = torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
    return length


def _log_sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.log(_sum(x, axes, keep))


def _in_floats(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[[NodeContext], Kernel]:
    """Compute roots and logarithms of integers in double, and cut the result to integers again."""

    def run(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
        return function(x, axes, keep) if x.is_floating_point() else function(x.double(), axes, keep).to(x.dtype)

    return _reduction(run, changes_single=True)


def _row(build: Callable[[NodeContext], Kernel], known: int) -> Operator:
    return Operator(build=build, known=known, attributes=_ATTRIBUTES, static=(1,))


_ATTRIBUTES = frozenset({"axes", "keepdims", "noop_with_empty_axes"})

REDUCTION = {
    "ReduceMean": _row(_reduction(lambda x, axes, keep: x.mean(dim=axes, keepdim=keep)), 18),
    "ReduceSum": _row(_reduction(_sum), 13),
    "ReduceMax": _row(_reduction(lambda x, axes, keep: x.amax(dim=axes, keepdim=keep), needs_elements=True), 20),
    "ReduceMin": _row(_reduction(lambda x, axes, keep: x.amin(dim=axes, keepdim=keep), needs_elements=True), 20),
    "ReduceProd": _row(_reduction(_product), 18),
    "ReduceL1": _row(_reduction(_absolute_sum, changes_single=True), 18),
    "ReduceL2": _row(_in_floats(_length), 18),
    "ReduceSumSquare": _row(_reduction(_square_sum, changes_single=True), 18),
    "ReduceLogSum": _row(_in_floats(_log_sum), 28),
    "ReduceLogSumExp": _row(_in_floats(lambda x, axes, keep: torch.logsumexp(x, dim=axes, keepdim=keep)), 28),
}
