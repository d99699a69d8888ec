"""Timing: warm-up until a model is steady, then rounds in which the models take turns."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .session import Runner
    from .stopping import StopRule
    from .watch import Watch

BLOCK_NS = 5_000_000  # a block of runs lasts about this long
MAX_BLOCK_RUNS = 64


class Sampled(NamedTuple):
    """What sampling gave.

    Attributes:
        rounds: for each model its rounds of samples in nanoseconds; rounds of one index were taken side by side.
        redone: number of rounds that the machine spoilt and that were taken again.
    """

    rounds: list[list[list[int]]]
    redone: int


def warm_up(runner: Runner, seconds: float, limit_seconds: float) -> tuple[int, bool]:
    """Run untimed until two blocks in a row agree within 5 %.

    Returns:
        The number of runs that make a block, and whether the model settled within the limit.
    """
    begin = time.perf_counter()
    previous, typical = 0.0, float(runner.run(1)[0])
    while True:
        previous, typical = typical, statistics.median(runner.run(max(_block_runs(typical), 2)))
        elapsed = time.perf_counter() - begin
        settled = abs(typical - previous) <= 0.05 * previous
        if (settled and elapsed >= seconds) or elapsed >= limit_seconds:
            return _block_runs(typical), settled


def sample(runners: list[Runner], runs: list[int], rule: StopRule, watch: Watch) -> Sampled:
    """Time the models in turns, so that drift of the machine touches all alike.

    Args:
        runners: the models.
        runs: how many runs make a block of each.
        rule: says when it is enough.
        watch: says when rounds have to be taken again.

    Raises:
        RefusedError: the machine did not let enough be measured.
    """
    begin = time.perf_counter()
    good: list[list[list[int]]] = []
    fresh: list[list[list[int]]] = []
    redone = taken = 0
    while True:
        fresh.append(_round(runners, runs, taken))
        taken += 1
        if not watch.is_due():
            continue
        if watch.was_quiet():
            good += fresh
        else:
            redone += len(fresh)
        fresh = []
        elapsed = time.perf_counter() - begin
        if rule.is_met(good, elapsed):
            return Sampled([[blocks[index] for blocks in good] for index in range(len(runners))], redone)
        rule.require_hope(good, redone, elapsed)


def _round(runners: list[Runner], runs: list[int], turn: int) -> list[list[int]]:
    """Run a block of each model there and one back: A B B A, and next time B A A B, for the middle one runs twice."""
    count = len(runners)
    order = [(turn + step) % count for step in range(count)]
    blocks: list[list[int]] = [[] for _ in runners]
    for index in (*order, *reversed(order)):
        # The model before left its own data in the caches: the first of several short runs is not counted.
        block = runners[index].run(runs[index] + (runs[index] > 1))
        blocks[index] += block[runs[index] > 1 :]
    return blocks


def _block_runs(typical_ns: float) -> int:
    return int(min(max(BLOCK_NS // max(typical_ns, 1), 1), MAX_BLOCK_RUNS))
