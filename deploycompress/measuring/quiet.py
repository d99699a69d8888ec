"""Which processes tell a ratio: those in which the baseline was as fast as it is when nothing else uses the machine.

Another program on the same core, be it of another virtual machine, slows kernels by different factors and stays for
seconds. On two virtual cores ResNet-20 went between 0.44 and 0.52 ms in single precision and at the same times between
0.20 and 0.29 ms in 8 bits: a ratio of 0.45 or of 0.56, and by chance the one or the other for whole processes. Only the
baseline says which processes those are, so no model gains by its own luck; and it says so by all of a process's rounds,
for rounds chosen because the baseline was fast in them would hold lucky ones against the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from deploycompress.measuring.interval import quantile

QUIET = 1.1  # times what the baseline takes at its fastest
_FASTEST = 0.1  # quantile of the processes: a single lucky one shall not decide

Rounds = Sequence[Sequence[int]]


def bounds_of(starts: Sequence[int]) -> list[tuple[int, int]]:
    """Give the first round of each process and the first one after it.

    Args:
        starts: number of rounds in each process.
    """
    return list(pairwise(accumulate(starts, initial=0)))


def usual_ns(baseline: Rounds, starts: Sequence[int]) -> float:
    """Give what the baseline takes in the processes that found the machine least disturbed, nanoseconds.

    Args:
        baseline: latency samples by round, nanoseconds, process after process.
        starts: number of rounds in each process.
    """
    return quantile(_levels(baseline, starts), _FASTEST)


def quiet_starts(baseline: Rounds, starts: Sequence[int], known_ns: float = math.inf) -> tuple[int, ...]:
    """List the processes in which the baseline was not slow.

    Args:
        baseline: latency samples by round, nanoseconds, process after process.
        starts: number of rounds in each process.
        known_ns: what the baseline usually takes, as far as other measurements say.
    """
    limit = QUIET * min(usual_ns(baseline, starts), known_ns)
    return tuple(index for index, level in enumerate(_levels(baseline, starts)) if level <= limit)


def counted_starts(baseline: Rounds, starts: Sequence[int], least: int) -> tuple[int, ...]:
    """List the processes that tell the ratio: the quiet ones, or all where those are too few to bound it.

    Args:
        baseline: latency samples by round, nanoseconds, process after process.
        starts: number of rounds in each process.
        least: number of processes that bound a ratio.
    """
    quiet = quiet_starts(baseline, starts)
    return quiet if len(quiet) >= least else tuple(range(len(starts)))


def _levels(baseline: Rounds, starts: Sequence[int]) -> list[float]:
    fastest = [min(block) for block in baseline]
    return [quantile(fastest[begin:end], 0.5) for begin, end in bounds_of(starts)]
