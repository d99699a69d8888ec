"""When sampling may end, and when there is no hope that it will. The host computes the exact intervals."""

from __future__ import annotations

import math
import statistics
from statistics import NormalDist
from typing import TYPE_CHECKING

from .refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .frames import Message

    Round = list[list[int]]  # of each model its samples in nanoseconds

SPOILT_ROUNDS = 32  # so many may be taken again in any case, and after that no more than there are good ones
_NEXT_LOOK = 1.2  # looking takes time, too: precision is looked at again when so much more time has passed


class StopRule:
    """Knows what a request wants.

    Args:
        request: `min_samples` and `min_rounds` are taken in any case; sampling ends when all medians, and all ratios to
            the model `reference`, are as precise as `precision` at `confidence`, or after `enough_seconds`.
    """

    def __init__(self, request: Message) -> None:
        self._request = request
        self._next_look = 0.0

    def is_met(self, rounds: Sequence[Round], elapsed: float) -> bool:
        """Whether enough is known.

        Args:
            rounds: the good ones so far.
            elapsed: seconds since sampling began.
        """
        request = self._request
        if len(rounds) < request["min_rounds"] or _least_samples(rounds) < request["min_samples"]:
            return False
        if elapsed >= request["enough_seconds"]:
            return True
        if elapsed < self._next_look:
            return False
        self._next_look = _NEXT_LOOK * elapsed
        return all(
            is_precise(values, request["precision"], request["confidence"])
            for values in _estimates(rounds, request["reference"])
        )

    def require_hope(self, rounds: Sequence[Round], redone: int, elapsed: float) -> None:
        """Give up when the time is over, or when the machine spoils most of the rounds.

        Args:
            rounds: the good ones so far.
            redone: number of spoilt ones.
            elapsed: seconds since sampling began.

        Raises:
            RefusedError: the measurement is inconclusive.
        """
        request = self._request
        is_over = elapsed >= request["max_seconds"]
        if redone > len(rounds) + (0 if is_over else SPOILT_ROUNDS):
            raise RefusedError(
                "inconclusive",
                f"The machine throttled or its clock dropped by more than 10 % in {redone} of {redone + len(rounds)} "
                "rounds; cool it, give it more power, or fix its clock, and measure again.",
            )
        if not is_over:
            return
        spoilt = f" ({redone} rounds were spoilt by a throttled clock)" if redone else ""
        samples = _least_samples(rounds)
        found, wanted, what = samples, request["min_samples"], "samples"
        if samples >= wanted:
            found, wanted, what = len(rounds), request["min_rounds"], "rounds"
        raise RefusedError(
            "inconclusive",
            f"Only {found} of {wanted} {what} fit into {request['max_seconds']:g} s{spoilt}; "
            "raise max_seconds in the profile's [measure], or measure a smaller model.",
        )


def is_precise(values: Sequence[float], precision: float, confidence: float) -> bool:
    """Whether the median's interval reaches no further than a share of the median to each side.

    The ranks are those of the normal approximation to the binomial.

    Args:
        values: in any order.
        precision: half-width allowed, relative to the median.
        confidence: of the interval.
    """
    ordered = sorted(values)
    count = len(ordered)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(count) / 2
    low = math.floor(count / 2 - reach)
    return low >= 0 and ordered[-1 - low] - ordered[low] <= 2 * precision * ordered[count // 2]


def _least_samples(rounds: Sequence[Round]) -> int:
    if not rounds:
        return 0
    return min(sum(len(blocks[index]) for blocks in rounds) for index in range(len(rounds[0])))


def _estimates(rounds: Sequence[Round], reference: int | None) -> list[list[float]]:
    """Give the medians of each model, and the ratios to the reference, by round.

    Samples of one round share the machine's mood; taken for independent, they would look surer than they are.
    """
    medians = [[statistics.median(samples) for samples in blocks] for blocks in rounds]
    models = range(len(rounds[0]))
    found = [[row[index] for row in medians] for index in models]
    if reference is not None:
        found += [[row[index] / row[reference] for row in medians] for index in models if index != reference]
    return found
