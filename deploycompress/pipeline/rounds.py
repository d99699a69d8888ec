"""Progressive compression: smaller and smaller students on the way to a plan, each trained before the next is cut."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.plan import Plan

LAST_SHARE = 0.5
"""Of the training, for the plan itself; the rounds before share the rest equally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One student on the way.

    Attributes:
        plan: that cuts it from the teacher.
        share: of the whole training, in (0, 1].
    """

    plan: Plan
    share: float


def plan_rounds(plan: Plan, rounds: int) -> tuple[Round, ...]:
    """Spread the blocks that a plan removes over rounds; channels and kernels go in the last one.

    Args:
        plan: where to arrive.
        rounds: at most, 1 for the plan alone; there are no more than blocks to remove.

    Returns:
        At least one round, the last with the plan itself; their shares add up to 1.
    """
    count = max(1, min(rounds, len(plan.remove)))
    if count == 1:
        return (Round(plan=plan, share=1.0),)
    share = (1 - LAST_SHARE) / (count - 1)
    early = [Plan(remove=_spread(plan.remove, number, count)) for number in range(1, count)]
    return (*(Round(plan=one, share=share) for one in early), Round(plan=plan, share=LAST_SHARE))


def share_of_time(round_share: float, *, rounds_left: float, later: float) -> float:
    """Say how much of the time that is left a round gets.

    Args:
        round_share: the round's, of the training in rounds.
        rounds_left: what this round and those after it have together.
        later: share of the whole time that belongs to what comes after all rounds, and so is still among what is left.
    """
    here = 1 - later
    return here * round_share / (here * rounds_left + later)


def _spread(names: tuple[str, ...], number: int, count: int) -> tuple[str, ...]:
    """Take every name whose place falls into the first rounds, so that neighbours go in different ones."""
    return tuple(name for place, name in enumerate(names) if place % count < number)
