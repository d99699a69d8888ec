"""Which step the widths of a channel group go in: one that suits every operator that makes or reads its channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from deploycompress.channels.kinds import kind_of
from deploycompress.channels.records import Channels, Role
from deploycompress.profile import ChannelSteps
from deploycompress.surgery.naming import weights_read
from deploycompress.surgery.wiring import Wiring


def group_quanta(wiring: Wiring, channels: Channels, quanta: ChannelSteps) -> tuple[int, ...]:
    """Give the quantum of every channel group.

    A group's channels are the outputs of some operators and the inputs of others, and each kind may have a step of its
    own on either side: the least common multiple suits them all.

    Args:
        wiring: of the teacher.
        channels: its channels.
        quanta: the profile's steps by kind of operator, in the precision that ships.

    Returns:
        One number for each of `channels.groups`; the profile's general quantum where no operator with weights is met.
    """
    kinds = _kinds(wiring)
    steps: list[list[int]] = [[] for _ in channels.groups]
    for tie in channels.ties:
        if tie.tensor not in kinds or tie.role not in (Role.MAKES, Role.READS):
            continue
        quantum = quanta.for_kind(kinds[tie.tensor])
        step = quantum.output if tie.role is Role.MAKES else quantum.input
        for group in np.unique(channels.group_of[tie.channels]):
            steps[int(group)].append(step)
    return tuple(_common(found, quanta.quantum) for found in steps)


def _kinds(wiring: Wiring) -> Mapping[str, str]:
    """Map each weight to the kind of the operator that works with it."""
    nodes = wiring.graph.nodes
    return {
        name: kind
        for index, node in enumerate(nodes)
        if wiring.is_weighted(index) and (kind := kind_of(wiring.graph, node))
        for name in weights_read(wiring, index)
    }


def _common(steps: Sequence[int], usual: int) -> int:
    return math.lcm(*steps) if steps else usual
