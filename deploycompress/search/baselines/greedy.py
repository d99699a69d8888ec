"""Greedy search: what loses the least accuracy for each saving goes first, until the limits are met.

Sweeps of single steps from the current candidate, as in sensitivity scans and NetAdapt (Yang et al., "NetAdapt:
Platform-Aware Neural Network Adaptation for Mobile Applications", 2018), with the measured table for the savings. What
is left of the evaluations goes to exchanges around the result: one thing returns, others go, and the better stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import record
from deploycompress.search.baselines.exchanges import exchanged
from deploycompress.search.baselines.sensitivity import cheapest, expected_loss, learnt_from_step
from deploycompress.search.baselines.standing import Standing
from deploycompress.search.costs import forecast
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.journal import Journal, check_answered, is_met, noted
from deploycompress.search.moves import Kind, Move, applied, moves
from deploycompress.search.near_limit import is_guided
from deploycompress.search.reward import RewardSettings, meets, total_excess
from deploycompress.search.space import Candidate, Space
from deploycompress.search.tightening import loosened

NAME = "greedy"


class Phase(StrEnum):
    """What is being asked."""

    SWEEP = "sweep"
    BASE = "base"
    FINAL = "final"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the evaluations are shared out.

    Attributes:
        sweep_share: of the evaluations, how many the sweeps may take.
        probe_share: least share of a group's width that a probe takes, so that its loss stands out of the noise.
    """

    sweep_share: float = 0.8
    probe_share: float = 0.125

    def __post_init__(self) -> None:
        for name in ("sweep_share", "probe_share"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(f"Greedy setting {name!r} is {getattr(self, name)}; it must be in (0, 1].")


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Standing):
    """Where a search stands.

    Attributes:
        settings: of the engine.
        current: the candidate that steps are taken from.
        accuracy: of the current candidate, after recalibration alone; none when it was not measured.
        sensitivities: what is known of the losses.
        sweeps: how many are planned.
        sweep: which it is, from 0.
        excess: over the limits at the beginning, as foreseen.
        queue: steps still to try in this sweep.
        tried: steps tried in this sweep, each with the accuracy it led to, none when it failed.
        phase: what is being asked.
        finals: candidates that were asked as the result and broke a limit.
        best: the best candidate so far.
        best_is_met: whether it meets the limits.
        best_reward: its reward.
        pending: the candidate asked about.
    """

    engine: ClassVar[str] = NAME

    settings: Settings
    current: Candidate
    accuracy: float | None = None
    sensitivities: Mapping[str, float] = field(default_factory=dict)
    sweeps: int = 1
    sweep: int = 0
    excess: float = 0.0
    queue: tuple[Move, ...] = ()
    tried: tuple[tuple[Move, float | None], ...] = ()
    phase: Phase = Phase.SWEEP
    finals: int = 0
    best: Candidate | None = None
    best_is_met: bool = False
    best_reward: float = -1.0
    pending: Candidate = field(default_factory=Candidate)


def init(space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int) -> State:
    """Start with a sweep around the teacher (see `search.engine.Engine`).

    Raises:
        UsageError: fewer than one evaluation.
    """
    journal = Journal(space=space, reward_settings=reward_settings, evaluations=evaluations, seed=seed)
    state = State(settings=settings, journal=journal, current=space.candidate())
    width = len(moves(space, state.current)) + 1  # a sweep, and the candidate it led to
    sweeps = max(1, int(settings.sweep_share * evaluations) // width)
    return _swept(replace(state, sweeps=sweeps, excess=_excess(state, state.current)))


def ask(state: State) -> Proposal:
    """Propose the next step of a sweep, or a result.

    Raises:
        ValueError: the search is over.
    """
    state.require_open()
    is_probe = state.phase in (Phase.SWEEP, Phase.BASE)
    return state.journal.asking(state.pending, step=state.sweep, needs_accuracy=is_probe)


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
    """Learn what a step lost, or whether a result holds.

    Raises:
        ValueError: the proposal is not what was asked.
    """
    check_answered(ask(state), proposal)
    state = replace(state, journal=noted(state.journal, proposal.candidate, evaluation))
    state = _with_best(state, proposal.candidate, is_met(state.journal, evaluation), reward)
    if state.phase is Phase.SWEEP:
        state = _after_probe(state, evaluation)
    elif state.phase is Phase.BASE:
        state = _after_base(state, evaluation)
    elif state.phase is Phase.FINAL:
        state = _after_final(state, is_enough=is_met(state.journal, evaluation))
    else:
        state = _exchanging(state)
    return replace(state, stop=StopReason.FINISHED) if state.journal.is_over else state


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, NAME)


def _with_best(state: State, candidate: Candidate, is_enough: bool, reward: float) -> State:
    if state.best is not None and (is_enough, reward) <= (state.best_is_met, state.best_reward):
        return state
    return replace(state, best=candidate, best_is_met=is_enough, best_reward=reward)


def _swept(state: State) -> State:
    """Begin a sweep; where not all steps can be tried, those that save the most come first."""
    journal = state.journal
    steps = [_widened(state, move) for move in moves(journal.space, state.current)]
    room = max(int(state.settings.sweep_share * journal.evaluations) - len(journal.seen), 1)
    if len(steps) > room:
        steps.sort(key=lambda move: _excess(state, applied(journal.space, state.current, move)))
    queue = tuple(steps[:room])
    if not queue:
        return replace(state, stop=StopReason.EXHAUSTED)
    return replace(state, phase=Phase.SWEEP, queue=queue, pending=applied(journal.space, state.current, queue[0]))


def _widened(state: State, move: Move) -> Move:
    """Make the step of a group large enough to be noticed."""
    if move.kind is not Kind.NARROW:
        return move
    dimension = next(one for one in state.journal.space.free if one.group == move.name)
    width = state.current.widths.get(move.name, dimension.width)
    most = width - state.settings.probe_share * dimension.width
    return replace(move, size=max((one for one in dimension.widths if one <= most), default=dimension.widths[0]))


def _after_probe(state: State, evaluation: Evaluation) -> State:
    state = replace(state, tried=(*state.tried, (state.queue[0], _untrained(evaluation))), queue=state.queue[1:])
    if state.queue:
        return replace(state, pending=applied(state.journal.space, state.current, state.queue[0]))
    state = _with_losses(state)
    return _exchanging(state) if meets(state.journal.space.teacher, state.journal.limits) else _stepped(state)


def _with_losses(state: State) -> State:
    """Learn from a sweep; where it started is as good as its best step if that was not measured."""
    known = [accuracy for _, accuracy in state.tried if accuracy is not None]
    before = state.accuracy if state.accuracy is not None else max(known, default=0.0)
    losses = state.sensitivities
    for move, accuracy in state.tried:
        loss = before - (accuracy or 0.0)
        losses = learnt_from_step(state.journal.space, state.current, move, loss, losses)
    return replace(state, sensitivities=losses, tried=())


def _after_base(state: State, evaluation: Evaluation) -> State:
    if is_met(state.journal, evaluation):
        return _exchanging(state)
    return _swept(replace(state, accuracy=_untrained(evaluation)))


def _after_final(state: State, *, is_enough: bool) -> State:
    if is_enough:
        return _exchanging(state)
    return _stepped(replace(state, finals=state.finals + 1))


def _stepped(state: State) -> State:
    """Take this sweep's part of the steps, the cheapest first, and look at where they lead."""
    before = state.current
    current = _taken(state)
    state = replace(state, current=current, sweep=state.sweep + 1)
    if current == before:
        return replace(state, stop=StopReason.EXHAUSTED)
    if state.sweep < state.sweeps and _excess(state, current) > 0:
        return replace(state, phase=Phase.BASE, pending=current)
    current = _with_room_used(state)
    return replace(state, phase=Phase.FINAL, current=current, pending=current)


def _taken(state: State) -> Candidate:
    journal, candidate = state.journal, state.current
    is_blind = not is_guided(journal.space, journal.rows, journal.correction)
    goal = state.excess * max(1 - (state.sweep + 1) / state.sweeps, 0.0)
    steps = 0
    while possible := moves(journal.space, candidate):
        is_far = _excess(state, candidate) > goal
        if steps and (steps >= 2**state.finals if is_blind else not is_far):
            break
        move = cheapest(journal.space, candidate, journal.rows, state.sensitivities, journal.correction, possible)
        candidate = applied(journal.space, candidate, move)
        steps += 1
    return candidate


def _with_room_used(state: State) -> Candidate:
    """Let return what still fits, except where nothing foresees that, and after a result that broke a limit."""
    journal = state.journal
    if state.finals or not is_guided(journal.space, journal.rows, journal.correction):
        return state.current
    return loosened(
        journal.space,
        state.current,
        journal.rows,
        lambda one: -expected_loss(journal.space, one, state.sensitivities),
        journal.correction,
    )


def _exchanging(state: State) -> State:
    best = state.current if state.best is None else state.best
    pending = exchanged(state.journal, best, state.sensitivities)
    journal = replace(state.journal, draws=state.journal.draws + 1)
    return replace(state, phase=Phase.EXCHANGE, current=best, journal=journal, pending=pending)


def _excess(state: State, candidate: Candidate) -> float:
    journal = state.journal
    known = tuple(row for row in journal.rows if row.metrics <= journal.space.teacher.keys())
    return total_excess(forecast(journal.space, candidate, journal.correction), known)


def _untrained(evaluation: Evaluation) -> float | None:
    """Give the accuracy that all probes have, whatever they climbed to."""
    if evaluation.is_degenerate:
        return None
    return evaluation.climb[0] if evaluation.climb else evaluation.accuracy
