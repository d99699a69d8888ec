"""What may be cut: the channel groups, the widths each may take, and which channels stay at a width.

It knows plans and importance scores; it does not know how a width is chosen.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploycompress.errors import PlanError
from deploycompress.plan import Plan


@dataclass(frozen=True, slots=True)
class Dimension:
    """One channel group as the search sees it.

    Attributes:
        group: name of the channel group.
        width: channels of the teacher.
        widths: widths the group may take, ascending; the last is `width`.
    """

    group: str
    width: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.widths or self.widths[0] < 1 or list(self.widths) != sorted(set(self.widths)):
            raise ValueError(f"Group {self.group!r}: allowed widths must ascend from at least 1, got {self.widths}.")
        if self.widths[-1] != self.width:
            raise ValueError(f"Group {self.group!r}: the largest allowed width is not its width {self.width}.")

    @property
    def is_free(self) -> bool:
        """Whether there is a choice of width."""
        return len(self.widths) > 1


@dataclass(frozen=True, slots=True)
class Space:
    """All channel groups of a teacher."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        groups = [dimension.group for dimension in self.dimensions]
        if len(set(groups)) != len(groups):
            raise ValueError(f"A channel group appears twice among {groups}.")

    @property
    def free(self) -> tuple[Dimension, ...]:
        """Dimensions with more than one allowed width: those a policy has a say in."""
        return tuple(dimension for dimension in self.dimensions if dimension.is_free)


def allowed_widths(width: int, quantum: int) -> tuple[int, ...]:
    """List the multiples of a channel quantum below a width, and the width itself.

    Args:
        width: channels of the teacher, at least 1.
        quantum: channels the device computes at once, at least 1.
    """
    return (*range(quantum, width, quantum), width)


def snap(width: float, widths: Sequence[int]) -> int:
    """Round a real-valued width to the nearest allowed one, to the wider of two equally near."""
    above = min(bisect_left(widths, width), len(widths) - 1)
    below = max(above - 1, 0)
    return widths[below] if width - widths[below] < widths[above] - width else widths[above]


def choose_channels(scores: Sequence[float], count: int) -> tuple[int, ...]:
    """Keep the channels with the highest scores, the lower index first where scores are equal.

    Args:
        scores: importance of each channel of the teacher, shape [C]; minus infinity for those already cut.
        count: how many stay, in [1, C].

    Returns:
        Indices of the channels that stay, ascending.

    Raises:
        PlanError: a score is not a number, or fewer than `count` channels are left.
    """
    if any(math.isnan(score) for score in scores):
        raise PlanError("A channel's importance score is NaN; the student's training has diverged.")
    left = sum(score != -math.inf for score in scores)
    if not 1 <= count <= left:
        raise PlanError(f"{count} channels were to stay of {left} that are left; plans can only shrink.")
    ranked = sorted(range(len(scores)), key=lambda channel: (-scores[channel], channel))
    return tuple(sorted(ranked[:count]))


def plan_for(space: Space, widths: Mapping[str, int], scores: Mapping[str, Sequence[float]]) -> Plan:
    """Turn widths into a plan that keeps the most important channels of each group.

    Args:
        space: the groups and their allowed widths.
        widths: channels that stay, by group; groups that are not named stay whole.
        scores: importance by group, one per channel of the teacher.

    Raises:
        PlanError: a group or width is not in the space, or a group's scores are missing or of wrong number.
    """
    known = {dimension.group: dimension for dimension in space.dimensions}
    keep = {}
    for group, count in widths.items():
        dimension = known.get(group)
        if dimension is None or count not in dimension.widths:
            allowed = "none, the group is unknown" if dimension is None else dimension.widths
            raise PlanError(f"Group {group!r} cannot have {count} channels; allowed: {allowed}.")
        if count == dimension.width:
            continue
        if len(scores.get(group, ())) != dimension.width:
            raise PlanError(
                f"Group {group!r} has {dimension.width} channels but {len(scores.get(group, ()))} importance scores."
            )
        keep[group] = choose_channels(scores[group], count)
    return Plan(keep=keep)
