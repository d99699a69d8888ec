"""What a joint search tries before it believes anything: every choice alone, or where these are many, several at once.

One thing taken out of the whole teacher tells its own loss with little noise, which is how greedy search begins.
Several things at once tell something of everything for fewer evaluations.
"""

from __future__ import annotations

from dataclasses import replace

from deploycompress.constraint import Constraint
from deploycompress.search.joint.choices import Choices, number
from deploycompress.search.joint.state import State
from deploycompress.search.space import Candidate, Space

SINGLE_SHARE = 0.5  # of a group's width or a kernel's extent that a single takes


def length(state: State) -> int:
    """Give the number of evaluations that the survey takes."""
    choices, evaluations = len(number(state.journal.space)), state.journal.evaluations
    if choices <= state.settings.singles_share * evaluations:
        return choices
    return int(state.settings.survey_share * evaluations)


def is_on(state: State) -> bool:
    """Say whether the next student belongs to the survey."""
    return len(state.journal.seen) < length(state)


def next_single(state: State) -> tuple[int, Candidate] | None:
    """Give the next choice to try alone, and the candidate for it.

    Returns:
        None where several are tried at once, or all have been tried.
    """
    choices = number(state.journal.space)
    if len(choices) > state.settings.singles_share * state.journal.evaluations:
        return None
    for choice, candidate in enumerate(singles(choices)):
        if not state.journal.has_seen(candidate):
            return choice, candidate
    return None


def singles(choices: Choices) -> list[Candidate]:
    """Give for every choice the candidate in which nothing else goes, in the order of their numbers."""
    space = choices.space
    return [
        *(space.candidate(remove=[one.block]) for one in space.removals),
        *(space.candidate(widths={one.group: _half(one.widths)}) for one in space.free),
        *(space.candidate(kernels={one.layer: _half(one.sizes)}) for one in space.kernels),
    ]


def with_single(state: State, choice: int, candidate: Candidate, lost: float) -> State:
    """Remember what a choice lost alone, brought to the loss when all of it goes."""
    share = number(state.journal.space).gone(candidate)[choice]
    return replace(state, singles={**state.singles, choice: max(lost, 0.0) / share})


def on_the_way(row: Constraint, space: Space, depth: float) -> Constraint:
    """Put a limit between the teacher and where it is, at a share of the way."""
    if not row.metrics <= space.teacher.keys():
        return row
    whole = row.value(space.teacher)
    return replace(row, bound=min(max(whole - depth * (whole - row.bound), row.bound), whole))


def _half(sizes: tuple[int, ...]) -> int:
    """Give the largest size that takes at least the share of the whole, else the smallest."""
    return max((size for size in sizes if size <= (1 - SINGLE_SHARE) * sizes[-1]), default=sizes[0])
