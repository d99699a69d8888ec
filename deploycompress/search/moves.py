"""The smallest steps from one candidate to a cheaper one: a block goes, a group or a kernel takes its next size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from deploycompress.search.space import Candidate, Space


class Kind(StrEnum):
    """What a step changes."""

    REMOVE = "remove"
    NARROW = "narrow"
    SHRINK = "shrink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step.

    Attributes:
        kind: what it changes.
        name: block, group or layer.
        size: width or extent afterwards; 0 for a block.
    """

    kind: Kind
    name: str
    size: int = 0


def moves(space: Space, candidate: Candidate) -> tuple[Move, ...]:
    """List every single step that makes a candidate cheaper, in the order of the space."""
    return (*_removals(space, candidate), *_narrowings(space, candidate), *_shrinkings(space, candidate))


def applied(space: Space, candidate: Candidate, move: Move) -> Candidate:
    """Take a step."""
    remove, widths, kernels = candidate.remove, dict(candidate.widths), dict(candidate.kernels)
    if move.kind is Kind.REMOVE:
        remove = (*remove, move.name)
    elif move.kind is Kind.NARROW:
        widths[move.name] = move.size
    else:
        kernels[move.name] = move.size
    return space.candidate(remove=remove, widths=widths, kernels=kernels)


def undone(space: Space, candidate: Candidate) -> tuple[Candidate, ...]:
    """List what single steps back lead to: a block returns, or a group or kernel takes its next larger size."""
    back = [
        replace(candidate, remove=tuple(other for other in candidate.remove if other != name))
        for name in candidate.remove
    ]
    for dimension in space.free:
        if dimension.group in candidate.widths:
            widths = {**candidate.widths, dimension.group: _next(dimension.widths, candidate.widths[dimension.group])}
            back.append(replace(candidate, widths=widths))
    for kernel in space.kernels:
        if kernel.layer in candidate.kernels:
            sizes = {**candidate.kernels, kernel.layer: _next(kernel.sizes, candidate.kernels[kernel.layer])}
            back.append(replace(candidate, kernels=sizes))
    return tuple(space.candidate(remove=one.remove, widths=one.widths, kernels=one.kernels) for one in back)


def all_applied(space: Space, candidate: Candidate, steps: Iterable[Move]) -> Candidate:
    """Take several steps, one after the other."""
    for step in steps:
        candidate = applied(space, candidate, step)
    return candidate


def smallest(space: Space) -> Candidate:
    """Take everything that can be taken; blocks that cannot all go together are the environment's to refuse."""
    return space.candidate(
        remove=[removal.block for removal in space.removals],
        widths={dimension.group: dimension.widths[0] for dimension in space.free},
        kernels={kernel.layer: kernel.sizes[0] for kernel in space.kernels},
    )


def _removals(space: Space, candidate: Candidate) -> Iterator[Move]:
    gone = space.gone(candidate.remove)
    for removal in space.removals:
        inside = bool(removal.layers) and gone.issuperset(removal.layers)
        if removal.block not in candidate.remove and not inside:
            yield Move(kind=Kind.REMOVE, name=removal.block)


def _narrowings(space: Space, candidate: Candidate) -> Iterator[Move]:
    gone = space.gone(candidate.remove)
    for dimension in space.free:
        width = candidate.widths.get(dimension.group, dimension.width)
        is_gone = bool(dimension.layers) and gone.issuperset(dimension.layers)
        if width > dimension.widths[0] and not is_gone:
            smaller = dimension.widths[bisect_left(dimension.widths, width) - 1]
            yield Move(kind=Kind.NARROW, name=dimension.group, size=smaller)


def _shrinkings(space: Space, candidate: Candidate) -> Iterator[Move]:
    gone = space.gone(candidate.remove)
    for kernel in space.kernels:
        size = candidate.kernels.get(kernel.layer, kernel.sizes[-1])
        if size > kernel.sizes[0] and kernel.index not in gone:
            yield Move(kind=Kind.SHRINK, name=kernel.layer, size=kernel.sizes[bisect_left(kernel.sizes, size) - 1])


def _next(sizes: tuple[int, ...], size: int) -> int:
    return sizes[bisect_left(sizes, size) + 1]
