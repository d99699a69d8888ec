"""What calibration says about a kind of operator, and the quanta that follow for a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.calibration.quantum import QuantumFinding, WidthTime
from deploycompress.calibration.staircase import Side, Sweep
from deploycompress.profile import Channels as ChannelQuanta
from deploycompress.profile import Quantum

HEAVY = 0.1
"""Share of the arithmetic from which a kind has a say in the quantum of the whole device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """One measured staircase.

    Attributes:
        sweep: what was measured.
        share: part of the model's multiply-accumulates that the kind has.
        times: latencies by width, ascending.
        finding: the quantum behind them.
    """

    sweep: Sweep
    share: float
    times: tuple[WidthTime, ...]
    finding: QuantumFinding

    @property
    def verdict(self) -> str:
        """What the staircase says, in words."""
        found = self.finding.quantum
        if found is None:
            return "inconclusive, the profile's quantum stays"
        return "smooth" if found == 1 else f"steps of {found}"


def derive_quanta(known: ChannelQuanta, staircases: Sequence[Staircase]) -> ChannelQuanta:
    """Put measured quanta in the place of those a profile has; where a staircase is inconclusive, the profile's stays.

    The quantum of the whole device is the largest one among the kinds that do most of the arithmetic: a channel group
    is written by one kind and read by others, and must suit all of them.
    """
    quanta = dict(known.quanta)
    for staircase in staircases:
        kind, side, found = staircase.sweep.layer.kind, staircase.sweep.side, staircase.finding.quantum
        before = quanta.get(kind) or known.for_kind(kind)
        if found is not None:
            quanta[kind] = Quantum(
                input=before.input if side is Side.OUTPUT else found,
                output=before.output if side is Side.INPUT else found,
            )
    heavy = [s.finding.quantum for s in staircases if s.share >= HEAVY and s.finding.quantum is not None]
    return ChannelQuanta(quantum=max(heavy, default=known.quantum), quanta=quanta)
