"""Everything that can go, numbered: blocks, then groups, then kernels; and candidates as vectors over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.search.moves import Kind, Move
from deploycompress.search.space import Candidate, Space

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The numbering.

    Attributes:
        space: what may go.
        number: of each choice, by kind and name.
    """

    space: Space
    number: dict[tuple[Kind, str], int]

    def __len__(self) -> int:
        return len(self.number)

    def of(self, move: Move) -> int:
        """Give the number of the choice that a step is about."""
        return self.number[move.kind, move.name]

    def gone(self, candidate: Candidate) -> Vector:
        """Give the share that goes of every choice, squared for widths and extents, shape [P].

        A trained network sits in a minimum of its loss, so what is lost grows with the square of what goes (LeCun et
        al., "Optimal Brain Damage", 1990).
        """
        found = np.zeros(len(self))
        for name in candidate.remove:
            found[self.number[Kind.REMOVE, name]] = 1.0
        for dimension in self.space.free:
            if dimension.group in candidate.widths:
                share = 1 - candidate.widths[dimension.group] / dimension.width
                found[self.number[Kind.NARROW, dimension.group]] = share**2
        for kernel in self.space.kernels:
            if kernel.layer in candidate.kernels:
                share = 1 - candidate.kernels[kernel.layer] / kernel.sizes[-1]
                found[self.number[Kind.SHRINK, kernel.layer]] = share**2
        return found


def number(space: Space) -> Choices:
    """Number the choices of a space."""
    keys = [
        *((Kind.REMOVE, removal.block) for removal in space.removals),
        *((Kind.NARROW, dimension.group) for dimension in space.free),
        *((Kind.SHRINK, kernel.layer) for kernel in space.kernels),
    ]
    return Choices(space=space, number={key: index for index, key in enumerate(keys)})
