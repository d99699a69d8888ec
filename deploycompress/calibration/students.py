"""Random students of a model: blocks removed, widths on the grid of quanta that a search would offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.search.space import allowed_widths
from deploycompress.surgery.blocks import Block
from deploycompress.surgery.cut import cut_channels
from deploycompress.surgery.masks import kept_channels
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.shipped import shipped_form

OFFERED = ("residual", "gate", "branch", "layer")
"""Kinds of blocks that save time."""

MOST_WIDTHS = 8
MOST_REMOVED = 0.7
TRIES = 20


def random_students(
    graph: Graph, channels: Channels, offered: Sequence[Block], *, quantum: int, seed: int
) -> Iterator[Graph]:
    """Draw students without end, in the form that ships.

    Args:
        graph: the captured model.
        channels: its channels.
        offered: its blocks.
        quantum: channels that widths are multiples of.
        seed: same seed, same students.
    """
    generator = np.random.default_rng(seed)
    removable = tuple(block.name for block in offered if block.kind in OFFERED)
    while True:
        bare = _without_blocks(graph, channels, offered, removable, generator)
        remaining = channels if bare is graph else trace_channels(bare)
        keep = _narrower(remaining, quantum, generator)
        yield shipped_form(cut_channels(bare, remaining, kept_channels(remaining, Plan(keep=keep))))


def _without_blocks(
    graph: Graph,
    channels: Channels,
    offered: Sequence[Block],
    removable: Sequence[str],
    generator: np.random.Generator,
) -> Graph:
    """Remove a random share of the blocks; a draw that cannot go together is drawn anew, with fewer."""
    share = MOST_REMOVED * generator.random()
    for attempt in range(TRIES):
        names = [name for name in removable if generator.random() < share * (1 - attempt / TRIES)]
        if not names:
            break
        try:
            return remove_blocks(graph, names, offered=offered, channels=channels)
        except PlanError:
            continue
    return graph


def _narrower(channels: Channels, quantum: int, generator: np.random.Generator) -> dict[str, tuple[int, ...]]:
    """Draw a width for each free group: latency asks how many channels stay, not which."""
    share = generator.random()
    keep = {}
    for group in channels.free_groups:
        widths = allowed_widths(group.width, quantum, most=MOST_WIDTHS)
        if len(widths) > 1 and generator.random() < share:
            keep[group.name] = tuple(range(int(generator.choice(widths))))
    return keep
