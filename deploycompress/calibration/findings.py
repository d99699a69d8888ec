"""What calibration says about a kind of operator, and the quanta that follow for a profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.calibration.quantum import QuantumFinding, WidthTime
from deploycompress.calibration.staircase import Side, Sweep
from deploycompress.profile import ChannelSteps, Quantum

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
        found, sure = self.finding.quantum, self.finding.at_least
        if found is None:
            return f"steps of {sure}, if not more" if sure > 1 else "inconclusive, the profile's quantum stays"
        return "smooth" if found == 1 else f"steps of {found}"


def derive_quanta(known: ChannelSteps, staircases: Sequence[Staircase]) -> ChannelSteps:
    """Put measured quanta in the place of those a profile has.

    Where a staircase is inconclusive the profile's stays, made a multiple of the largest step that is real for sure.

    The quantum of the whole device is the largest one among the kinds that do most of the arithmetic: a channel group
    is written by one kind and read by others, and must suit all of them.
    """
    quanta = dict(known.quanta)
    for staircase in staircases:
        kind, side = staircase.sweep.layer.kind, staircase.sweep.side
        before = quanta.get(kind) or known.for_kind(kind)
        if _says_something(staircase.finding):
            quanta[kind] = Quantum(
                input=before.input if side is Side.OUTPUT else _step(staircase.finding, before.input),
                output=before.output if side is Side.INPUT else _step(staircase.finding, before.output),
            )
    heavy = [staircase.finding for staircase in staircases if staircase.share >= HEAVY]
    steps = [_step(finding, known.quantum) for finding in heavy if _says_something(finding)]
    return ChannelSteps(quantum=max(steps, default=known.quantum), quanta=quanta)


def _says_something(finding: QuantumFinding) -> bool:
    return finding.quantum is not None or finding.at_least > 1


def _step(finding: QuantumFinding, before: int) -> int:
    return math.lcm(before, finding.at_least) if finding.quantum is None else finding.quantum
