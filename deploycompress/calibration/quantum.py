"""The channel quantum behind a measured staircase; noise must not decide.

A step of q is real when a width half-way between two multiples of q costs nearly what the upper multiple costs, rather
than the mean of both: the rise lies in the first half of the step. Half-way is where steps of q, of q/2 and smooth
growth differ most. The largest real step is the quantum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CANDIDATES = (4, 8, 16, 32, 64)
"""Steps that are looked for; kernels work in powers of two."""

REAL = 0.5
"""Rise at half-way, from 0 (the mean of both multiples) to 1 (the upper one), above which a step is real."""

DRAWS = 2000
SESSIONS_DIFFER = 0.015
"""Relative error of every latency beside what its bounds say: two sessions lie differently in memory."""

VISIBLE = 3.0  # standard errors: a rise from multiple to multiple below that says nothing about where it happens

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthTime:
    """Latency at one width.

    Attributes:
        width: channels on the side that was changed.
        ms: latency.
        low_ms: lower bound.
        high_ms: upper bound.
    """

    width: int
    ms: float
    low_ms: float
    high_ms: float

    def __post_init__(self) -> None:
        if not 0 < self.low_ms <= self.ms <= self.high_ms:
            raise ValueError(f"Latency at width {self.width} is {self.ms} in [{self.low_ms}, {self.high_ms}].")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """Where latency rises between multiples of a step.

    Attributes:
        step: the step.
        value: median over the multiples of how far latency has risen at half-way, 0 to 1; None if nothing was visible.
        low: lower bound.
        high: upper bound.
    """

    step: int
    value: float | None = None
    low: float = 0.0
    high: float = 1.0

    @property
    def is_real(self) -> bool | None:
        """Whether the step is real; None when that cannot be told."""
        if self.value is None or self.low <= REAL <= self.high:
            return None
        return self.low > REAL


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantumFinding:
    """What a staircase says.

    Attributes:
        quantum: the step; 1 for smooth latency; None when the measurement is inconclusive.
        rises: by step, ascending.
    """

    quantum: int | None
    rises: tuple[Rise, ...]

    @property
    def at_least(self) -> int:
        """Largest step that is real for sure, whatever is open about larger ones; 1 when none is."""
        return max((rise.step for rise in self.rises if rise.is_real), default=1)


def find_quantum(staircase: Sequence[WidthTime], *, confidence: float, seed: int = 0) -> QuantumFinding:
    """Derive the channel quantum of one side of a kind of operator.

    Widths below a step's first multiple do not count: there, kernels for few channels take over.

    Args:
        staircase: latencies with their bounds, one for each width.
        confidence: level of the bounds, and of the answer, in (0, 1).
        seed: of the draws that carry the bounds of latencies over to bounds of rises.
    """
    times = {step.width: step for step in staircase}
    spread = NormalDist().inv_cdf((1 + confidence) / 2)
    errors = {
        width: math.hypot((time.high_ms - time.low_ms) / (2 * spread), SESSIONS_DIFFER * time.ms)
        for width, time in times.items()
    }
    generator = np.random.default_rng(seed)
    drawn = {width: time.ms + errors[width] * generator.standard_normal(DRAWS) for width, time in sorted(times.items())}
    rises = tuple(_rise(step, times, errors, drawn, confidence) for step in CANDIDATES)
    return QuantumFinding(quantum=_quantum(rises), rises=rises)


def _quantum(rises: Sequence[Rise]) -> int | None:
    """Take the largest real step, if all larger ones are known not to be."""
    seen = [rise for rise in reversed(rises) if rise.value is not None or rise.step <= _LARGEST_NEEDED]
    for rise in seen:
        if rise.is_real is None:
            return None
        if rise.is_real:
            return rise.step
    return 1


_LARGEST_NEEDED = 32  # of the steps, that a staircase must speak about: 64 is told from three widths only


def _rise(
    step: int,
    times: dict[int, WidthTime],
    errors: dict[int, float],
    drawn: dict[int, Vector],
    confidence: float,
) -> Rise:
    found = []
    for low in sorted(times):
        middle, high = low + step // 2, low + step
        if low % step or middle not in times or high not in times:
            continue
        gap = times[high].ms - times[low].ms
        if gap > VISIBLE * (errors[low] ** 2 + errors[high] ** 2) ** 0.5:
            found.append(
                _risen(times[low].ms, times[middle].ms, times[high].ms, [drawn[w] for w in (low, middle, high)])
            )
    if not found:
        return Rise(step=step)
    values, draws = np.median([value for value, _ in found]), np.median([draws for _, draws in found], axis=0)
    tail = (1 - confidence) / 2
    low_bound, high_bound = np.quantile(draws, [tail, 1 - tail])
    return Rise(step=step, value=float(values), low=float(low_bound), high=float(high_bound))


def _risen(low: float, middle: float, high: float, drawn: Sequence[Vector]) -> tuple[float, Vector]:
    """Give how far latency has risen half-way beyond the mean of both ends, the draws beside it."""

    def risen(low: Vector, middle: Vector, high: Vector) -> Vector:
        half = np.maximum((high - low) / 2, 1e-12)
        return np.clip((middle - (low + high) / 2) / half, 0.0, 1.0)

    value = risen(np.array([low]), np.array([middle]), np.array([high]))
    return float(value[0]), risen(*drawn)
