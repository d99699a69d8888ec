"""From a candidate to its student: blocks go, the graph is traced again, the least important channels follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deploycompress.channels.records import Channels, Numbers, Role
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.choice import choose_channels
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.search.space import Candidate
from deploycompress.surgery.blocks import Block
from deploycompress.surgery.cut import cut_channels
from deploycompress.surgery.kernels import shrink_kernels
from deploycompress.surgery.masks import kept_channels
from deploycompress.surgery.remove import remove_blocks

Scores = Mapping[str, tuple[float, ...]]
Mask = NDArray[np.bool_]
Worth = NDArray[np.float64]

_REMEMBERED = 64  # combinations of blocks and kernels whose traces are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bare:
    """The teacher without some blocks, with some kernels shrunk.

    Attributes:
        channels: of what is left.
        pairs: (channel of what is left, channel of the teacher) where they are one, shape [P, 2].
        made: which of the teacher's channels some layer that is left makes, shape [count + 1].
    """

    channels: Channels
    pairs: Numbers
    made: Mask


class Students:
    """Makes plans and graphs of candidates. Candidates speak of the teacher's groups, plans of what blocks leave.

    Args:
        teacher: the captured graph.
        channels: its channels.
        offered: its blocks.
    """

    def __init__(self, teacher: Graph, channels: Channels, offered: Sequence[Block]) -> None:
        self._teacher, self._channels, self._offered = teacher, channels, tuple(offered)
        self._bare = lru_cache(maxsize=_REMEMBERED)(self._trace)

    def plan(self, candidate: Candidate, scores: Scores) -> Plan:
        """Choose the channels that stay.

        Args:
            candidate: what goes and how wide the rest is.
            scores: importance of the teacher's channels by group, minus infinity for those already cut.

        Raises:
            PlanError: the blocks cannot go together, or a group has fewer channels left than shall stay.
        """
        bare = self._bare(candidate.remove, tuple(sorted(candidate.kernels.items())))
        stays = np.ones(self._channels.count + 1, dtype=np.bool_)
        worth = np.zeros(self._channels.count + 1)
        for index, group in enumerate(self._channels.groups):
            members = self._channels.members_of(index)
            worth[members] = scores[group.name]
            if group.name in candidate.widths:
                stays[members] = False
                stays[members[list(choose_channels(scores[group.name], candidate.widths[group.name]))]] = True
        keep = {}
        for index, group in enumerate(bare.channels.groups):
            if not group.frozen:
                kept = self._kept(bare.channels.members_of(index), bare, stays, worth)
                if len(kept) < group.width:
                    keep[group.name] = kept
        return Plan(remove=candidate.remove, keep=keep, kernels=candidate.kernels)

    def slim(self, source: Graph, plan: Plan) -> Graph:
        """Apply a plan to the teacher, or to the teacher's graph with other weights."""
        bare = self.bare(source, plan)
        if not plan.keep:
            return bare
        channels = self._bare(plan.remove, tuple(sorted(plan.kernels.items()))).channels
        return cut_channels(bare, channels, kept_channels(channels, plan))

    def bare(self, source: Graph, plan: Plan) -> Graph:
        """Apply a plan's blocks and kernels alone."""
        if plan.remove:
            source = remove_blocks(source, plan.remove, offered=self._offered, channels=self._channels)
        return shrink_kernels(source, plan.kernels) if plan.kernels else source

    def bare_channels(self, plan: Plan) -> Channels:
        """Give the channels of the teacher without a plan's blocks."""
        return self._bare(plan.remove, tuple(sorted(plan.kernels.items()))).channels

    def teachers_of(self, plan: Plan) -> Numbers:
        """Pair the channels of the teacher without a plan's blocks with the teacher's own, shape [P, 2]."""
        return self._bare(plan.remove, tuple(sorted(plan.kernels.items()))).pairs

    def _trace(self, remove: tuple[str, ...], kernels: tuple[tuple[str, int], ...]) -> _Bare:
        if not remove and not kernels:
            numbers = np.arange(self._channels.count + 1)
            made = np.ones(self._channels.count + 1, dtype=np.bool_)
            return _Bare(channels=self._channels, pairs=np.stack([numbers, numbers], axis=1), made=made)
        channels = trace_channels(self.bare(self._teacher, Plan(remove=remove, kernels=dict(kernels))))
        made = np.zeros(self._channels.count + 1, dtype=np.bool_)
        makers = {(tie.tensor, tie.axis) for tie in channels.ties if tie.role is Role.MAKES}
        for tie in self._channels.ties:
            if (tie.tensor, tie.axis) in makers:
                made[tie.channels] = True
        return _Bare(channels=channels, pairs=_pairs(channels, self._channels), made=made)

    def _kept(self, members: Numbers, bare: _Bare, stays: Mask, worth: Worth) -> tuple[int, ...]:
        """Choose among a group's channels, each of which may be several of the teacher's that have become one.

        How many stay is up to the groups that are still made: one whose layers have gone has no width of its own.
        """
        mine = bare.pairs[np.isin(bare.pairs[:, 0], members)]
        position = {int(number): index for index, number in enumerate(members)}
        rows = np.array([position[int(number)] for number in mine[:, 0]], dtype=np.int64)
        merged = np.bincount(rows, minlength=len(members))
        if not merged.all():
            return tuple(range(len(members)))  # some channel is nobody's: nothing says what it is worth
        if merged.max() == 1:
            of = dict(zip(rows.tolist(), mine[:, 1].tolist(), strict=True))
            return tuple(index for index in range(len(members)) if stays[of[index]])
        kept = np.unique(mine[:, 1][stays[mine[:, 1]]])
        alive = kept[bare.made[kept]]
        width = int(np.bincount(self._channels.group_of[alive if len(alive) else kept]).max(initial=1))
        total = np.zeros(len(members))
        np.add.at(total, rows, worth[mine[:, 1]])
        return choose_channels(total.tolist(), min(width, len(members)))


def _pairs(after: Channels, before: Channels) -> Numbers:
    """Find which channels are one, by the weight positions they are tied to; a resized axis says nothing."""
    known = {(tie.tensor, tie.axis): tie.channels for tie in before.ties}
    found = [
        np.stack([tie.channels, known[tie.tensor, tie.axis]], axis=1)
        for tie in after.ties
        if (tie.tensor, tie.axis) in known and len(known[tie.tensor, tie.axis]) == len(tie.channels)
    ]
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    return np.unique(pairs[(pairs > 0).all(axis=1)], axis=0)
