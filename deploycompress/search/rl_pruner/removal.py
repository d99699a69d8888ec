"""Real-valued widths: what remains of each dimension when an action removes an amount of channels.

Widths are not rounded here. A thin layer that loses a third of a channel per step loses one after three steps
instead of never; rounding to what the device likes happens when a plan is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEGLIGIBLE = 1e-9


def remove_channels(
    widths: Sequence[float], action: Sequence[float], amount: float, *, floors: Sequence[int]
) -> tuple[float, ...]:
    """Remove an amount of channels, shared among the dimensions by an action.

    What a dimension at its floor cannot give is asked of the others in proportion to the action, and where the
    action gives all of those nothing, in proportion to what they can still lose.

    Args:
        widths: real-valued widths before, shape [D].
        action: distribution over the dimensions, shape [D].
        amount: channels to remove in all; less is removed when the dimensions have less to give.
        floors: smallest allowed width of each dimension, shape [D].

    Returns:
        Real-valued widths after, shape [D], none below its floor.
    """
    left = np.asarray(widths, dtype=np.float64)
    lowest = np.asarray(floors, dtype=np.float64)
    while amount > NEGLIGIBLE and (room := left - lowest).any():
        share = np.where(room > 0, action, 0.0)
        share = share if share.sum() > 0 else room
        given = np.minimum(share / share.sum() * amount, room)
        left = np.where(room - given <= NEGLIGIBLE, lowest, left - given)
        amount -= float(given.sum())
    return tuple(float(width) for width in left)


def is_exhausted(widths: Sequence[float], *, floors: Sequence[int]) -> bool:
    """Say whether no dimension has anything left to give."""
    return all(width <= floor for width, floor in zip(widths, floors, strict=True))
