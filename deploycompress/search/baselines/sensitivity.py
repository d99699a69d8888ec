"""How much accuracy a candidate is expected to lose, from what single steps were seen to lose.

Losses are taken to add up, and to grow with the square of the share that goes: a trained network sits in a minimum, so
the first order vanishes (LeCun et al., "Optimal Brain Damage", 1990).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from deploycompress.constraint import Constraint
from deploycompress.search.costs import Correction, forecast
from deploycompress.search.moves import Kind, Move, applied, moves
from deploycompress.search.reward import total_excess
from deploycompress.search.space import Candidate, Space

Sensitivities = Mapping[str, float]
"""By what goes (`keyed`): accuracy lost when all of it goes."""

LEAST_LOSS = 1e-3  # what a validation split can tell; below it the larger saving decides
LEAST_SAVING = 1e-9


def keyed(kind: Kind, name: str) -> str:
    """Name what goes; a block and a group may share a name."""
    return f"{kind.value}:{name}"


def squares(space: Space, candidate: Candidate) -> dict[str, float]:
    """Give the squared share that goes of everything a candidate changes."""
    widths = {one.group: one.width for one in space.free}
    sizes = {one.layer: one.sizes[-1] for one in space.kernels}
    return {
        **{keyed(Kind.REMOVE, name): 1.0 for name in candidate.remove},
        **{keyed(Kind.NARROW, name): (1 - left / widths[name]) ** 2 for name, left in candidate.widths.items()},
        **{keyed(Kind.SHRINK, name): (1 - left / sizes[name]) ** 2 for name, left in candidate.kernels.items()},
    }


def expected_loss(space: Space, candidate: Candidate, sensitivities: Sensitivities) -> float:
    """Add up what a candidate is expected to lose; what was never tried counts as the median of what was."""
    usual = median(sensitivities.values()) if sensitivities else 1.0
    return sum(square * sensitivities.get(key, usual) for key, square in squares(space, candidate).items())


def learnt_from_step(
    space: Space, before: Candidate, move: Move, loss: float, sensitivities: Sensitivities
) -> dict[str, float]:
    """Take in what a step was seen to lose.

    Args:
        space: what may go.
        before: where the step started.
        move: the step.
        loss: accuracy before minus accuracy after; noise may make it negative.
        sensitivities: as learnt so far.
    """
    key = keyed(move.kind, move.name)
    old, new = squares(space, before), squares(space, applied(space, before, move))
    swallowed = sum(square * sensitivities.get(one, 0.0) for one, square in old.items() if one not in new)
    return {**sensitivities, key: max((loss + swallowed) / (new[key] - old.get(key, 0.0)), 0.0)}


def cheapest(
    space: Space,
    candidate: Candidate,
    rows: Sequence[Constraint],
    sensitivities: Sensitivities,
    correction: Correction,
    possible: Sequence[Move] = (),
) -> Move:
    """Choose the step that loses the least accuracy for what it saves of the excess over the limits.

    Where the table foresees no saving, what is saved is the share of the parts that go.

    Args:
        space: what may go.
        candidate: where the step starts.
        rows: limits.
        sensitivities: what is known of the losses.
        correction: of the forecast.
        possible: steps to choose from; all there are when empty. There has to be one.
    """
    known = tuple(row for row in rows if row.metrics <= space.teacher.keys())
    excess = total_excess(forecast(space, candidate, correction), known)
    lost = expected_loss(space, candidate, sensitivities)
    parts = sum(squares(space, candidate).values())

    def price(move: Move) -> tuple[float, float, float]:
        after = applied(space, candidate, move)
        saved = excess - total_excess(forecast(space, after, correction), known)
        loss = max(expected_loss(space, after, sensitivities) - lost, LEAST_LOSS)
        if saved > LEAST_SAVING:
            return 0.0, loss / saved, -saved
        return 1.0, loss / max(sum(squares(space, after).values()) - parts, LEAST_SAVING), 0.0

    return min(possible or moves(space, candidate), key=price)
