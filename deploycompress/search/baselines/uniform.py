"""The same relative amount everywhere: what people do first, at the smallest amount that meets the limits.

A mix says how much of the sparsity goes to blocks and how much to channels; blocks that go are evenly spaced over the
depth. For each mix the smallest amount that is measured to meet the limits is found, starting where it is foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import record
from deploycompress.search.baselines.standing import Standing
from deploycompress.search.costs import fits
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.journal import Journal, check_answered, digest, is_met, noted
from deploycompress.search.near_limit import is_guided
from deploycompress.search.reward import RewardSettings, meets
from deploycompress.search.space import Candidate, Space, snap

NAME = "uniform"
MIXES = ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.25, 1.0), (1.0, 0.25), (0.75, 1.0), (1.0, 0.75))
"""Shares of the sparsity that blocks and channels take."""

OFFSETS = (0.5, 0.0, 0.25, 0.75)
"""Where in its stretch of the depth a block goes."""

VARIANTS = tuple((*mix, offset) for offset in OFFSETS for mix in MIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How finely the amount is varied.

    Attributes:
        levels: steps between nothing and everything.
        foreseen_probes: probes of a mix that follow the forecast; those after them halve the interval.
        scan: points of a mix where no limit is foreseen to be broken, so that there is nothing to close in on.
    """

    levels: int = 100
    foreseen_probes: int = 3
    scan: int = 8

    def __post_init__(self) -> None:
        for name in ("levels", "scan"):
            if getattr(self, name) < 1:
                raise UsageError(f"Uniform setting {name!r} is {getattr(self, name)}; it must be at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Standing):
    """Where a search stands.

    Attributes:
        settings: of the engine.
        enough: whether in the candidates answered so far as much went as had to, by digest.
        variant: which pair of offset and mix is being looked at.
        low: place on the variant's path of the largest amount that broke the limits; -1 before there is one.
        high: place of the smallest amount that was enough; the path's length before there is one.
        probes: made on the path.
        place: on the path, of the candidate asked about.
        pending: the candidate asked about.
    """

    engine: ClassVar[str] = NAME

    settings: Settings
    enough: Mapping[str, bool] = field(default_factory=dict)
    variant: int = 0
    low: int = -1
    high: int = 0
    probes: int = 0
    place: int = 0
    pending: Candidate = field(default_factory=Candidate)


def init(space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int) -> State:
    """Start with channels alone (see `search.engine.Engine`); nothing is drawn, so the seed changes nothing.

    Raises:
        UsageError: fewer than one evaluation.
    """
    journal = Journal(space=space, reward_settings=reward_settings, evaluations=evaluations, seed=seed)
    return _with_next(_entered(State(settings=settings, journal=journal), 0))


def ask(state: State) -> Proposal:
    """Propose the next point of the variant's path.

    Raises:
        ValueError: the search is over.
    """
    state.require_open()
    return state.journal.asking(state.pending, step=state.variant)


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:  # noqa: ARG001 - no learner
    """Close in on the limit.

    Raises:
        ValueError: the proposal is not what was asked.
    """
    check_answered(ask(state), proposal)
    is_enough = evaluation.is_degenerate or is_met(state.journal, evaluation)  # what fails has lost too much
    journal = noted(state.journal, proposal.candidate, evaluation)
    state = replace(state, journal=journal, enough={**state.enough, digest(proposal.candidate): is_enough})
    state = _closed_in(state, state.place, is_enough)
    return replace(state, stop=StopReason.FINISHED) if journal.is_over else _with_next(state)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, NAME)


def amount(space: Space, sparsity: float, *, blocks: float, channels: float, offset: float) -> Candidate:
    """Take the same share everywhere.

    Args:
        space: what may go.
        sparsity: in [0, 1].
        blocks: share of the sparsity that is the share of blocks that go.
        channels: share of the sparsity that is the share of channels, and of kernel extents, that go.
        offset: where in its stretch of the depth a block goes, in [0, 1).
    """
    count = round(sparsity * blocks * len(space.removals))
    stays = 1 - sparsity * channels
    return space.candidate(
        remove=[space.removals[int((n + offset) * len(space.removals) / count)].block for n in range(count)],
        widths={dimension.group: snap(dimension.width * stays, dimension.widths) for dimension in space.free},
        kernels={kernel.layer: snap(kernel.sizes[-1] * stays, kernel.sizes) for kernel in space.kernels},
    )


def _path(state: State) -> tuple[Candidate, ...]:
    """List the different candidates of a variant, ascending in the amount that goes."""
    blocks, channels, offset = VARIANTS[state.variant]
    levels = state.settings.levels
    space = state.journal.space
    path = [Candidate()]
    for level in range(1, levels + 1):
        candidate = amount(space, level / levels, blocks=blocks, channels=channels, offset=offset)
        if candidate != path[-1]:
            path.append(candidate)
    return tuple(path[1:])


def _entered(state: State, variant: int) -> State:
    state = replace(state, variant=variant, low=-1, high=0, probes=0)
    return replace(state, high=len(_path(state))) if variant < len(VARIANTS) else state


def _closed_in(state: State, place: int, is_enough: bool) -> State:
    state = replace(state, probes=state.probes + 1)
    return replace(state, high=place) if is_enough else replace(state, low=place)


def _with_next(state: State) -> State:
    while state.variant < len(VARIANTS):
        path = _path(state)
        place = _next_place(state, path)
        if place is None:
            state = _entered(state, state.variant + 1)
        elif digest(path[place]) in state.enough:
            state = _closed_in(state, place, state.enough[digest(path[place])])
        else:
            return replace(state, place=place, pending=path[place])
    return replace(state, stop=StopReason.FINISHED)


def _next_place(state: State, path: tuple[Candidate, ...]) -> int | None:
    if _is_free(state.journal):
        points = min(state.settings.scan, len(path))
        return len(path) * (state.probes + 1) // points - 1 if state.probes < points else None
    low, high = state.low, state.high
    if high - low <= 1:
        return None
    rows, correction = state.journal.rows, state.journal.correction
    if state.probes >= state.settings.foreseen_probes or not is_guided(state.journal.space, rows, correction):
        return (low + high) // 2
    fitting = (n for n, one in enumerate(path) if fits(state.journal.space, one, rows, correction))
    return min(max(next(fitting, len(path)), low + 1), high - 1)


def _is_free(journal: Journal) -> bool:
    """Say whether the teacher is foreseen to meet every limit."""
    return meets(journal.space.teacher, journal.limits)
