"""Operators that pick, join or surround parts of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import EVERY_POSITION, Kernel, NodeContext, Operator
from deploycompress.network.operators.windows import torch_pads


def _concat(context: NodeContext) -> Kernel:
    axis = context.axis(int(context.attribute("axis", 0)), context.rank())
    return lambda *tensors: torch.cat(tensors, dim=axis)


def _split(context: NodeContext) -> Kernel:
    axis = context.axis(int(context.attribute("axis", 0)), context.rank())
    parts = len(context.node.outputs)
    sizes = context.constant_ints(1) or context.ints("split", ())
    total = sum(sizes) or context.size(0, axis)
    if not sizes:
        chunk = -(-total // parts)
        sizes = (*[chunk] * (parts - 1), total - chunk * (parts - 1))
    if context.attribute("num_outputs", parts) != parts or len(sizes) != parts or min(sizes) < 0:
        raise context.refuse(f"splits {total} into {sizes} but has {parts} outputs")
    return lambda x: torch.split(x, list(sizes), dim=axis)


def _slice(context: NodeContext) -> Kernel:
    rank = context.rank()
    known_starts, known_ends = context.sizes(1), context.sizes(2)
    count = math.prod(context.shape(1))
    axes = [context.axis(axis, rank) for axis in context.constant_ints(3) or range(count)]
    steps = context.constant_ints(4) or (1,) * count

    def cuts(starts: tuple[int, ...] | None, ends: tuple[int, ...] | None) -> tuple[slice, ...]:
        found = [slice(None)] * rank
        bounds = zip(axes, starts or known_starts or (), ends or known_ends or (), steps, strict=True)
        for axis, start, end, step in bounds:
            found[axis] = slice(start, end, step)
        return tuple(found)

    def run_backwards(x: Tensor, starts: tuple[int, ...] | None, ends: tuple[int, ...] | None) -> Tensor:
        for axis, cut in enumerate(cuts(starts, ends)):
            chosen = range(*cut.indices(x.shape[axis]))
            x = x.index_select(axis, torch.tensor(chosen, dtype=torch.int64, device=x.device))
        return x

    if min(steps, default=1) < 1:
        return run_backwards
    if known_starts is None or known_ends is None:
        return lambda x, starts, ends: x[cuts(starts, ends)]
    index = cuts(known_starts, known_ends)
    return lambda x, _starts, _ends: x[index]


def _gather(context: NodeContext) -> Kernel:
    axis = context.axis(int(context.attribute("axis", 0)), context.rank())
    single = context.scalar(1)
    if single is not None:
        position = int(single)
        return lambda x, _indices: x.select(axis, position)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        from_front = torch.where(indices < 0, indices + x.shape[axis], indices)
        picked = x.index_select(axis, from_front.reshape(-1))
        return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])

    return run


def _scatter(context: NodeContext) -> Kernel:
    reduction = context.text("reduction", "none")
    if reduction not in ("none", "add"):
        raise context.refuse(f"writes by reduction {reduction!r}; known are 'none' and 'add'")
    adds = reduction == "add"
    # of several writes to one place ONNX asks for none but where they add up
    return lambda x, indices, updates: x.index_put(indices.unbind(-1), updates, accumulate=adds)


def _pad(context: NodeContext) -> Kernel:
    rank, mode = context.rank(), context.text("mode", "constant")
    pads = context.constant_ints(1) or ()
    axes = context.constant_ints(3) or tuple(range(rank))
    pairs = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        pairs[context.axis(axis, rank)] = (pads[position], pads[position + len(axes)])
    if mode == "constant":
        fill = context.constant(2)
        value = 0 if fill is None else fill.item()
        torch_order = torch_pads(pairs)
        return lambda x: F.pad(x, torch_order, value=value)
    chosen = {axis: _padded_positions(context, axis, pair, mode) for axis, pair in enumerate(pairs) if any(pair)}

    def run(x: Tensor) -> Tensor:
        for axis, positions in chosen.items():
            x = x.index_select(axis, torch.tensor(positions, device=x.device))
        return x

    return run


def _padded_positions(context: NodeContext, axis: int, pair: tuple[int, int], mode: str) -> list[int]:
    """List where each element of a padded axis comes from."""
    size = context.size(0, axis)
    before, after = pair
    if min(pair) < 0:
        raise context.refuse(f"cuts by negative pads {pair} in mode {mode!r}")
    if axis == 0 and size == 1:
        raise context.refuse(f"pads the batch axis in mode {mode!r}")
    positions = range(-before, size + after)
    if mode == "edge":
        return [min(max(position, 0), size - 1) for position in positions]
    if mode == "wrap":
        return [position % size for position in positions]
    if mode == "reflect" and size > max(pair):
        return [size - 1 - abs(size - 1 - abs(position)) for position in positions]
    raise context.refuse(f"pads an axis of size {size} by {pair} in mode {mode!r}")


SELECTION = {
    "Concat": Operator(build=_concat, known=13, attributes=frozenset({"axis"}), moves=EVERY_POSITION),
    "Split": Operator(build=_split, known=18, attributes=frozenset({"axis", "num_outputs", "split"}), static=(1,)),
    "Slice": Operator(build=_slice, known=13, static=(1, 2, 3, 4), sizes=(1, 2)),
    "Gather": Operator(build=_gather, known=13, attributes=frozenset({"axis"})),
    "ScatterND": Operator(build=_scatter, known=18, attributes=frozenset({"reduction"})),
    "Pad": Operator(build=_pad, known=25, attributes=frozenset({"mode"}), static=(1, 2, 3)),
}
