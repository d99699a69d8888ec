"""From real-valued widths to allowed ones, without giving rounding a say in what looks good.

Rounding each width on its own lets an action hide: one that leaves every dimension just above a threshold removes
nothing, keeps all accuracy, and looks best. So widths are rounded to the nearest allowed value, and then some of
them to the second nearest, until the sum agrees with the real-valued sum as well as the allowed widths permit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from deploycompress.search.space import snap

Move = tuple[float, int, int]


def snap_all(widths: Sequence[float], allowed: Sequence[Sequence[int]], *, ceilings: Sequence[int]) -> tuple[int, ...]:
    """Round widths so that their sum is kept as well as possible.

    Args:
        widths: real-valued, shape [D].
        allowed: widths that each dimension may take, ascending.
        ceilings: allowed widths that may not be exceeded, those of the current student, shape [D].

    Returns:
        One allowed width per dimension, shape [D].
    """
    choices = [row[: bisect_right(row, top)] for row, top in zip(allowed, ceilings, strict=True)]
    chosen = [snap(width, row) for width, row in zip(widths, choices, strict=True)]
    surplus = sum(chosen) - sum(widths)
    while moves := sorted(_moves(widths, choices, chosen, surplus)):
        _, dimension, width = moves[0]
        surplus += width - chosen[dimension]
        chosen[dimension] = width
    return tuple(chosen)


def _moves(
    widths: Sequence[float], choices: Sequence[Sequence[int]], chosen: Sequence[int], surplus: float
) -> Iterator[Move]:
    """List the steps of one dimension that bring the sum closer, with what each costs per channel."""
    for dimension, (width, row, old) in enumerate(zip(widths, choices, chosen, strict=True)):
        position = bisect_left(row, old) + (-1 if surplus > 0 else 1)
        if not 0 <= position < len(row):
            continue
        new = row[position]
        if abs(surplus + new - old) < abs(surplus) - 1e-9:
            yield (abs(new - width) - abs(old - width)) / abs(new - old), dimension, new
