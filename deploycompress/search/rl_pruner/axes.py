"""The entries of the pruning distribution: channel groups, and blocks that are gone when a group of theirs is empty.

With the channels that a device computes at once, a small network has few widths to choose from; what its narrowest
layers cannot give, blocks can. A residual branch without a channel somewhere inside is a branch that adds nothing, so
a width of zero is the removal of its block, and one distribution shares width and depth among the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.search.space import Candidate, Dimension, Removal, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One entry of the distribution.

    Attributes:
        widths: what it may be rounded to, ascending; 0 stands for the removal of the block.
        group: channel group that gets the width; empty for a block without a group of its own.
        block: block that goes at width 0; empty where none does.
    """

    widths: tuple[int, ...]
    group: str = ""
    block: str = ""

    @property
    def width(self) -> int:
        """Channels of the teacher."""
        return self.widths[-1]


def axes_of(space: Space, *, removes_blocks: bool) -> tuple[Axis, ...]:
    """List everything that has a choice, the groups first.

    A group may go to zero when all its layers lie in a removable block, the innermost one counts. A block without
    such a group is an axis of its own, as wide as its layers are on average.

    Args:
        space: groups and blocks.
        removes_blocks: whether blocks may go.
    """
    axes = []
    for dimension in space.dimensions:
        block = _home(space, dimension) if removes_blocks else ""
        widths = (0, *dimension.widths) if block else dimension.widths
        if len(widths) > 1:
            axes.append(Axis(widths=widths, group=dimension.group, block=block))
    covered = {axis.block for axis in axes}
    alone = [removal for removal in space.removals if removes_blocks and removal.block not in covered]
    return (*axes, *(Axis(widths=(0, _mean_width(space, removal)), block=removal.block) for removal in alone))


def candidate_at(space: Space, axes: Sequence[Axis], widths: Sequence[int]) -> Candidate:
    """Say what widths mean: groups at zero take their blocks with them.

    Args:
        space: what the candidate is over.
        axes: entries, shape [D].
        widths: an allowed width for each, shape [D].
    """
    pairs = list(zip(axes, widths, strict=True))
    return space.candidate(
        remove=[axis.block for axis, width in pairs if width == 0],
        widths={axis.group: width for axis, width in pairs if axis.group and width > 0},
    )


def _home(space: Space, dimension: Dimension) -> str:
    around = [removal for removal in space.removals if dimension.layers and _lies_in(dimension, removal)]
    return min(around, key=lambda removal: len(removal.layers)).block if around else ""


def _lies_in(dimension: Dimension, removal: Removal) -> bool:
    return set(dimension.layers) <= set(removal.layers)


def _mean_width(space: Space, removal: Removal) -> int:
    outputs = [space.layers[index].outputs for index in removal.layers]
    return max(1, round(sum(outputs) / len(outputs))) if outputs else 1
