"""What tracing finds: channels, the weight axes and constants tied to them, and the groups they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

NO_CHANNEL = 0
"""Channel number of positions that can never be cut."""


class Role(StrEnum):
    """What a weight axis does with the channels at its positions."""

    MAKES = "makes"
    READS = "reads"
    CARRIES = "carries"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Interchangeable channels: all of them are tied to the same weight axes.

    Attributes:
        name: the first weight that makes the channels, without its `.weight` ending.
        width: number of channels.
        members: (tensor, axis) pairs that lose one slice, or several, for each channel cut.
        frozen: whether the channels must all stay.
        why: the reason they must stay, empty otherwise.
    """

    name: str
    width: int
    members: tuple[tuple[str, int], ...]
    frozen: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightTie:
    """The channel that each position of a weight axis belongs to.

    Attributes:
        tensor: name of the constant.
        axis: axis of the constant.
        role: whether the axis makes, reads or carries its channels.
        channels: channel number of each position, shape [length of the axis].
    """

    tensor: str
    axis: int
    role: Role
    channels: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTie:
    """An integer in the graph that counts channels: a reshape target, a pad amount, a group number.

    Attributes:
        node: name of the node that reads the integer.
        place: input position of the constant that holds it, or the attribute's name.
        position: index in that constant; ignored for a plain integer attribute.
        channels: the channels counted; the integer becomes the number of those that stay.
    """

    node: str
    place: int | str
    position: int
    channels: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTie:
    """A constant of indices that picks channels; those that stay are renumbered among what stays.

    Attributes:
        node: name of the node that reads the indices.
        place: input position of the constant.
        channels: the channels picked from, shape [length of the axis].
    """

    node: str
    place: int
    channels: Numbers


class Reading(StrEnum):
    """How an operator without weights reads all channels along an axis at once."""

    SUM = "sum"
    MEAN = "mean"
    NORMALISE = "normalise"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTie:
    """An operator without weights that reads channels: a norm, a mean over channels, a product of activations.

    It needs no cut, for it works on whatever stays; the oracle must keep it from reading what was cut.

    Attributes:
        node: name of the node.
        place: input position of the tensor.
        axis: channel axis of that tensor.
        reading: what it does with them.
        channels: channel number of each position, shape [length of the axis].
    """

    node: str
    place: int
    axis: int
    reading: Reading
    channels: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Everything surgery and scoring need to know of a graph's channels.

    Attributes:
        groups: all groups, frozen ones included, in graph order.
        ties: constants tied to channels.
        counts: integers that count channels.
        indices: constants that pick channels by number.
        reads: operators without weights that read channels.
        axes: for each computed tensor with channels, its channel axis and the channel of each position.
        group_of: index of each channel's group, shape [count + 1]; -1 for number 0.
        index_in_group: position of each channel in its group, shape [count + 1].
    """

    groups: tuple[ChannelGroup, ...]
    ties: tuple[WeightTie, ...]
    counts: tuple[CountTie, ...]
    indices: tuple[IndexTie, ...]
    reads: tuple[ReadTie, ...]
    axes: Mapping[str, tuple[int, Numbers]]
    group_of: Numbers
    index_in_group: Numbers

    @property
    def count(self) -> int:
        """Number of channels; they are numbered from one."""
        return len(self.group_of) - 1

    @property
    def free_groups(self) -> tuple[ChannelGroup, ...]:
        """Give the groups that may be cut."""
        return tuple(group for group in self.groups if not group.frozen)

    def members_of(self, group_index: int) -> Numbers:
        """List the channel numbers of a group in the order of the group's indices."""
        found = np.flatnonzero(self.group_of == group_index)
        return found[np.argsort(self.index_in_group[found], kind="stable")]
