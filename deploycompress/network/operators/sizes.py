"""Operators on sizes: what a network computes from shapes while running, in numbers rather than tensors.

Numbers keep a batch size symbolic under `torch.export`, and cost no synchronisation with a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from deploycompress.network.operator import EVERY_POSITION, Kernel, NodeContext, Operator, Sizes


def _shape(context: NodeContext) -> Kernel:
    start, end = context.attribute("start", 0), context.attribute("end", None)
    return lambda x: tuple(x.shape)[start:end]


def _size(x: Tensor) -> int:
    return math.prod(x.shape)


def _known(context: NodeContext, index: int) -> Sizes | None:
    name = context.node.input(index)
    if not name or name in context.computed_sizes:
        return None
    values = context.constants[name].tolist()
    return tuple(values) if isinstance(values, list) else int(values)


def _on_sizes(function: Callable[..., Sizes]) -> Callable[[NodeContext], Kernel]:
    """Make a builder for a function of numbers, which fills in those that are known beforehand."""

    def build(context: NodeContext) -> Kernel:
        known = [_known(context, index) for index in range(len(context.node.inputs))]
        return lambda *given: function(
            *(there if value is None else value for value, there in zip(given, known, strict=True))
        )

    return build


def _elementwise(function: Callable[[int, int], int]) -> Callable[[NodeContext], Kernel]:
    def run(x: Sizes, y: Sizes) -> Sizes:
        if isinstance(x, tuple) or isinstance(y, tuple):
            xs, ys = _tuple(x), _tuple(y)
            count = len(ys) if len(xs) == 1 else len(xs)
            xs, ys = (values * count if len(values) == 1 else values for values in (xs, ys))
            return tuple(function(left, right) for left, right in zip(xs, ys, strict=True))
        return function(x, y)

    return _on_sizes(run)


def _tuple(value: Sizes) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def _quotient(x: int, y: int) -> int:
    floor = x // y
    return floor + 1 if floor < 0 and floor * y != x else floor  # ONNX divides towards zero


def _remainder(context: NodeContext) -> Kernel:
    if context.attribute("fmod", 0):
        return _elementwise(lambda x, y: x - y * _quotient(x, y))(context)
    return _elementwise(lambda x, y: x % y)(context)


def _concat(*parts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for part in parts for size in part)


def _gather(sizes: tuple[int, ...], index: Sizes) -> Sizes:
    return tuple(sizes[place] for place in index) if isinstance(index, tuple) else sizes[index]


def _slice(
    sizes: tuple[int, ...],
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    _axes: Sizes | None = None,
    steps: tuple[int, ...] = (1,),
) -> tuple[int, ...]:
    return sizes[starts[0] : ends[0] : (steps or (1,))[0]]


def _reranked(context: NodeContext) -> Kernel:
    """Give the same numbers with as many axes as the output has."""
    is_single = not context.shapes[context.node.outputs[0]]
    return lambda value, *_rest: _tuple(value)[0] if is_single else _tuple(value)


def _row(build: Callable[[NodeContext], Kernel], known: int, *attributes: str) -> Operator:
    return Operator(build=build, known=known, attributes=frozenset(attributes), sizes=EVERY_POSITION, gives_sizes=True)


READS_SHAPES = {
    "Shape": Operator(build=_shape, known=25, attributes=frozenset({"start", "end"}), gives_sizes=True),
    "Size": Operator(build=lambda _context: _size, known=25, gives_sizes=True),
}

SIZES = {
    "Add": _row(_elementwise(lambda x, y: x + y), 14),
    "Sub": _row(_elementwise(lambda x, y: x - y), 14),
    "Mul": _row(_elementwise(lambda x, y: x * y), 14),
    "Div": _row(_elementwise(_quotient), 14),
    "Mod": _row(_remainder, 28, "fmod"),
    "Cast": _row(_reranked, 28, "to", "saturate", "round_mode"),
    "Identity": _row(_reranked, 25),
    "Squeeze": _row(_reranked, 25, "axes"),
    "Unsqueeze": _row(_reranked, 25, "axes"),
    "Reshape": _row(_reranked, 25, "allowzero"),
    "Concat": _row(_on_sizes(_concat), 13, "axis"),
    "Gather": _row(_on_sizes(_gather), 13, "axis"),
    "Slice": _row(_on_sizes(_slice), 13),
}
