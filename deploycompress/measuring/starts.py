"""Latency over several fresh processes: what is asked of each, and their answers put together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploycompress.errors import MeasureError
from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.conditions import MachineState
from deploycompress.measuring.interval import least_samples
from deploycompress.measuring.measurement import Rounds
from deploycompress.measuring.quiet import quiet_starts
from deploycompress.profile import Measure

LEAST_SAMPLES = 64  # MLPerf's least number for a bound on the 90th percentile
LEAST_ROUNDS = 8
MOST_STARTS = 1000

SESSIONS = 4
"""How often each of several processes loads the models: where this was tried, the ratio of two small networks moved by
2.6 % (standard deviation) from one session to the next, and by 1.5 % more from one process to the next."""

_LONGEST_SECONDS = 86400.0  # a profile allows no more either
_LEAST_WARMUP_SECONDS = 0.02
_WARMUP_SHARE = 0.1  # of a hurried measurement's time
_LEAST_WARMUP_LIMIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How long models are sampled.

    Attributes:
        limits: the profile's.
        models: how many take turns.
        starts: number of processes.
        max_seconds: when enough is enough, over all processes; above the profile's limit it is the limit.
        min_samples: least number of samples of each model, over all processes.
    """

    limits: Measure
    models: int
    starts: int
    max_seconds: float | None = None
    min_samples: int | None = None

    def __post_init__(self) -> None:
        if self.min_samples is not None and self.min_samples < LEAST_SAMPLES:
            raise MeasureError(
                f"min_samples is {self.min_samples}; below {LEAST_SAMPLES} samples no bound on the 90th percentile "
                "exists."
            )
        if not 1 <= self.starts <= MOST_STARTS:
            raise MeasureError(f"starts is {self.starts}; expected is a number of processes from 1 to {MOST_STARTS}.")
        if self.models < 1:
            raise MeasureError("There is no model to measure; give at least one.")

    @property
    def most_seconds(self) -> float:
        """Longest time of one process; the profile's limit is that of a pair of models, and a longer wish counts."""
        wish = min(self.max_seconds or 0.0, _LONGEST_SECONDS)
        return max(self.limits.max_seconds * max(self.models / 2, 1), wish) / self.starts

    @property
    def most_starts(self) -> int:
        """Number of processes at most, where some find the machine disturbed.

        Only a baseline tells of that, and only where processes are enough to bound the ratio do the quiet ones count.
        """
        return self.starts * (2 if self.models > 1 and self.starts >= self.least_starts else 1)

    @property
    def least_starts(self) -> int:
        """Number of processes that bound a ratio."""
        return least_samples(0.5, self.limits.confidence)

    @property
    def sessions(self) -> int:
        """How often each process loads the models."""
        return SESSIONS if self.starts > 1 else 1

    def request(self) -> Message:
        """Give what each process is asked, without the models."""
        limits, starts = self.limits, self.starts
        least = self.least_starts
        wanted = limits.min_samples if self.min_samples is None else self.min_samples
        enough = self.most_seconds if self.max_seconds is None else min(self.max_seconds / starts, self.most_seconds)
        hurried = max(_LEAST_WARMUP_SECONDS, _WARMUP_SHARE * enough)
        return {
            "command": "latency",
            "warmup_seconds": min(limits.warmup_seconds, hurried),
            "warmup_limit_seconds": warmup_limit_seconds(limits),
            "min_samples": math.ceil(wanted / starts),
            # Where processes are enough to bound the ratio, their rounds need not be.
            "min_rounds": SESSIONS if starts >= least else max(LEAST_ROUNDS, least),
            "sessions": self.sessions,
            "enough_seconds": enough,
            "max_seconds": self.most_seconds,
            # What is left of chance in each process is averaged over all of them.
            "precision": limits.precision * math.sqrt(starts),
            "confidence": limits.confidence,
        }

    def order(self, start: int) -> list[int]:
        """Give the order in which a process loads the models: each comes first as often as any other."""
        return [(start + step) % self.models for step in range(self.models)]


def warmup_limit_seconds(limits: Measure) -> float:
    """Say after what time a model is sampled although its latency has not settled."""
    return max(5 * limits.warmup_seconds, _LEAST_WARMUP_LIMIT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What all processes told.

    Attributes:
        starts: number of rounds by process.
        rounds: by model its rounds in nanoseconds, process after process.
        redone_rounds: rounds that were spoilt.
        states: before and after sampling, by process.
        settled: whether all models were steady in all processes.
        load_seconds: by model, the middle one of the processes.
        first_run_ns: by model, the middle one of the processes.
        placement: by model its number of nodes by execution provider.
    """

    starts: tuple[int, ...]
    rounds: tuple[Rounds, ...]
    redone_rounds: int
    states: tuple[MachineState, ...]
    settled: bool
    load_seconds: tuple[float, ...]
    first_run_ns: tuple[int, ...]
    placement: tuple[Mapping[str, int], ...]


def is_enough(sampling: Sampling, sampled: Sampled, known_ns: float) -> bool:
    """Say whether enough processes were quiet to bound the ratio, or too many were tried.

    Args:
        sampling: what was asked for.
        sampled: what the processes told so far.
        known_ns: what the first model usually takes, as far as other measurements say.
    """
    tried = len(sampled.starts)
    if tried < sampling.starts or tried == sampling.most_starts:
        return tried >= sampling.starts
    return len(quiet_starts(sampled.rounds[0], sampled.starts, known_ns)) >= sampling.least_starts


def put_together(replies: Sequence[Message], orders: Sequence[Sequence[int]]) -> Sampled:
    """Put the answers of processes together.

    Args:
        replies: of the agents, to requests as `Sampling.request` makes them.
        orders: which model stands at each place of a reply.
    """
    models = range(len(orders[0]))
    places = [[order.index(model) for model in models] for order in orders]
    told = [[reply["models"][where[model]] for reply, where in zip(replies, places, strict=True)] for model in models]
    return Sampled(
        starts=tuple(len(reply["rounds"][0]) for reply in replies),
        rounds=tuple(
            tuple(
                tuple(block)
                for reply, where in zip(replies, places, strict=True)
                for block in reply["rounds"][where[model]]
            )
            for model in models
        ),
        redone_rounds=sum(reply["redone_rounds"] for reply in replies),
        states=tuple(MachineState(**state) for reply in replies for state in reply["states"]),
        settled=all(reply["settled"] for reply in replies),
        load_seconds=tuple(statistics.median(one["load_seconds"] for one in of_model) for of_model in told),
        first_run_ns=tuple(statistics.median_low(one["first_run_ns"] for one in of_model) for of_model in told),
        placement=tuple(of_model[0]["placement"] for of_model in told),
    )
