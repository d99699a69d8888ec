"""Which channels of a group stay at a width: the most important ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deploycompress.errors import PlanError


def choose_channels(scores: Sequence[float], count: int) -> tuple[int, ...]:
    """Keep the channels with the highest scores, the lower index first where scores are equal.

    Args:
        scores: importance of each channel of the teacher, shape [C]; minus infinity for those already cut.
        count: how many stay, in [1, C].

    Returns:
        Indices of the channels that stay, ascending.

    Raises:
        PlanError: a score is not a number, or fewer than `count` channels are left.
    """
    if any(math.isnan(score) for score in scores):
        raise PlanError("A channel's importance score is NaN; the student's training has diverged.")
    left = sum(score != -math.inf for score in scores)
    if not 1 <= count <= left:
        raise PlanError(f"{count} channels were to stay of {left} that are left; plans can only shrink.")
    ranked = sorted(range(len(scores)), key=lambda channel: (-scores[channel], channel))
    return tuple(sorted(ranked[:count]))
