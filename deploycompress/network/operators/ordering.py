"""Operators that follow the order of elements along one axis: running sums, triangles, largest and smallest."""

from __future__ import annotations

import torch
from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator


def _running_sum(context: NodeContext) -> Kernel:
    axis = context.axis((context.constant_ints(1) or (0,))[0], context.rank())
    exclusive, backwards = bool(context.attribute("exclusive", 0)), bool(context.attribute("reverse", 0))

    def run(x: Tensor) -> Tensor:
        x = x.flip(axis) if backwards else x
        if exclusive:
            x = torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), x.narrow(axis, 0, x.shape[axis] - 1)], dim=axis)
        total = torch.cumsum(x, dim=axis, dtype=x.dtype)  # torch would widen integers
        return total.flip(axis) if backwards else total

    return run


def _triangle(context: NodeContext) -> Kernel:
    diagonal = (context.constant_ints(1) or (0,))[0] if context.has_input(1) else 0
    cut = torch.triu if context.attribute("upper", 1) else torch.tril
    return lambda x: cut(x, diagonal)


def _position_of(context: NodeContext, *, largest: bool) -> Kernel:
    axis = context.axis(int(context.attribute("axis", 0)), context.rank())
    keep, last = bool(context.attribute("keepdims", 1)), bool(context.attribute("select_last_index", 0))
    find = torch.argmax if largest else torch.argmin  # both give the first of equals

    def run(x: Tensor) -> Tensor:
        if last:
            return x.shape[axis] - 1 - find(x.flip(axis), dim=axis, keepdim=keep)
        return find(x, dim=axis, keepdim=keep)

    return run


def _top(context: NodeContext) -> Kernel:
    axis = context.axis(int(context.attribute("axis", -1)), context.rank())
    count, largest = (context.constant_ints(1) or (0,))[0], bool(context.attribute("largest", 1))

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        # of equal elements ONNX takes the first; torch.topk promises nothing
        values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, count), places.narrow(axis, 0, count)

    return run


_EXTREME = frozenset({"axis", "keepdims", "select_last_index"})

ORDERING = {
    "CumSum": Operator(build=_running_sum, known=14, attributes=frozenset({"exclusive", "reverse"}), static=(1,)),
    "Trilu": Operator(build=_triangle, known=14, attributes=frozenset({"upper"}), static=(1,)),
    "ArgMax": Operator(build=lambda context: _position_of(context, largest=True), known=13, attributes=_EXTREME),
    "ArgMin": Operator(build=lambda context: _position_of(context, largest=False), known=13, attributes=_EXTREME),
    # results come sorted, which those who do not ask for it accept too
    "TopK": Operator(build=_top, known=24, attributes=frozenset({"axis", "largest", "sorted"}), static=(1,)),
}
