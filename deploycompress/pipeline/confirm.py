"""Before the winner is trained, the best students of a search are measured as thoroughly as what ships.

A search takes one short measurement of each of many students, so the best of them is often one that noise flattered.
Where all were flattered alike, because they were measured beside a teacher that was slow itself, the next one to be
measured is one that has as much room below the limit as the last one lacked.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from deploycompress.constraint import ANALYTIC_METRICS, Constraint
from deploycompress.execute.local import LocalEnvironment
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.gate import THOROUGH_TIME, Row, judge, until_conclusive
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.ship import thorough_starts
from deploycompress.plan import Plan
from deploycompress.search.outcome import TraceEntry, best_few
from deploycompress.search.reward import RewardSettings

MOST_TRIES = 8
TIME_SHARE = 0.1  # of what is left


def confirmed(
    job: Job, environment: LocalEnvironment, trace: Sequence[TraceEntry], settings: RewardSettings, count: int
) -> tuple[TraceEntry, ...]:
    """Keep the best students that are shown to meet the limits.

    Args:
        job: limits, and how thoroughly what ships is measured.
        environment: measures.
        trace: of the search.
        settings: reward, with the limits as the search saw them.
        count: of students wanted.

    Returns:
        At most so many, the best first. Where none is shown to meet the limits in the time that this may take, the
        one that is nearest to it; nothing where the search found none.
    """
    limits = [row for row in job.constraints if "accuracy" not in row.metrics]
    if all(row.metrics <= ANALYTIC_METRICS for row in limits):
        return best_few(trace, settings, count)
    left_s, started = job.clock.left_s, time.monotonic()
    held: list[TraceEntry] = []
    failed: dict[str, tuple[float, TraceEntry]] = {}
    stricter = settings
    with job.progress.stage("measure the best thoroughly", total=count) as task:
        while (entry := _next(trace, stricter, settings, {*failed, *(one.key for one in held)})) is not None:
            tries = len(held) + len(failed)
            is_late = left_s is not None and time.monotonic() - started > TIME_SHARE * left_s
            if len(held) == count or tries == MOST_TRIES or is_late:
                break
            rows = _measured(job, environment, entry.plan, limits)
            if rows is not None and all(row["ok"] for row in rows):
                held.append(entry)
                task.advance()
            else:
                failed[entry.key] = (float("inf") if rows is None else max(map(_excess, rows)), entry)
                stricter = stricter if rows is None else _stricter(stricter, entry, limits, rows)
    if held or not failed:
        return tuple(held) or best_few(trace, settings, count)
    job.progress.warning(
        f"None of the {len(failed)} best students is shown to meet the limits, measured thoroughly; the nearest wins."
    )
    return (min(failed.values(), key=lambda one: one[0])[1],)


def _next(
    trace: Sequence[TraceEntry], stricter: RewardSettings, settings: RewardSettings, tried: Collection[str]
) -> TraceEntry | None:
    """Give the best student that was not tried, if there is one of those that meet the stricter limits."""
    for limits in (stricter, settings):
        for entry in best_few(trace, limits, len(tried) + 1):
            if entry.key not in tried:
                return entry
    return None


def _stricter(
    settings: RewardSettings, entry: TraceEntry, limits: Sequence[Constraint], rows: Sequence[Row]
) -> RewardSettings:
    """Ask of the search's own reading that a limit still holds if the reading is off as it was for one student."""
    bounds = {}
    for limit, row in zip(limits, rows, strict=True):
        read, high = limit.value(entry.evaluation.metrics), row["interval"][1]
        if not row["ok"] and high is not None and min(read, high, limit.bound) > 0:
            bounds[limit.expression] = read * limit.bound / high
    constraints = tuple(
        replace(row, bound=min(row.bound, bounds.get(row.expression, row.bound))) for row in settings.constraints
    )
    return replace(settings, constraints=constraints)


def _measured(job: Job, environment: LocalEnvironment, plan: Plan, limits: Sequence[Constraint]) -> list[Row] | None:
    """Measure one student and judge it, as what ships is measured and judged; none where that fails."""
    ship = job.settings.ship

    def take(again: bool) -> tuple[Measurement, list[Row]]:
        metrics, found = environment.measure_thoroughly(
            plan,
            seconds=ship.seconds * (THOROUGH_TIME if again else 1),
            starts=thorough_starts(ship, job.profile, again=again),
        )
        return found, judge(limits, metrics, found, allow_proxy=True)  # as the search took them

    try:
        _, rows = until_conclusive(take)
    except FailedMeasurementError as error:
        job.progress.warning(f"One of the best students could not be measured thoroughly: {error}")
        return None
    job.progress.message("Measured thoroughly: " + "; ".join(map(_said, rows)) + ".")
    return rows


def _excess(row: Row) -> float:
    """Say by how much the far end of a row's interval is beyond its bound, relative to that."""
    high: float | None = row["interval"][1]
    return float("inf") if high is None else (high - row["max"]) / max(abs(row["max"]), 1e-12)


def _said(row: Row) -> str:
    low, high = row["interval"]
    return f"{row['expression']}: {low:.4g} to {high:.4g}" if None not in (low, high) else f"{row['expression']}: open"
