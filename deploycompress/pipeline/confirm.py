"""Before the winner is trained, the best students of a search are measured as thoroughly as what ships.

A search takes one short measurement of each of many students, so the best of them is often one that noise flattered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from deploycompress.constraint import ANALYTIC_METRICS, Constraint
from deploycompress.execute.local import LocalEnvironment
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import trusted_starts
from deploycompress.pipeline.gate import THOROUGH_STARTS, THOROUGH_TIME, Row, judge, until_conclusive
from deploycompress.pipeline.job import Job
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
    few, left_s, started = best_few(trace, settings, MOST_TRIES), job.clock.left_s, time.monotonic()
    held: list[TraceEntry] = []
    excess: dict[str, float] = {}
    with job.progress.stage("measure the best thoroughly", total=count) as task:
        for entry in few:
            if len(held) == count or (left_s is not None and time.monotonic() - started > TIME_SHARE * left_s):
                break
            rows = _measured(job, environment, entry.plan, limits)
            if rows is not None and all(row["ok"] for row in rows):
                held.append(entry)
                task.advance()
            else:
                excess[entry.key] = float("inf") if rows is None else max(map(_excess, rows))
    if held or not excess:
        return tuple(held) or few[:count]
    job.progress.warning(
        f"None of the {len(excess)} best students is shown to meet the limits, measured thoroughly; the nearest wins."
    )
    return (min((entry for entry in few if entry.key in excess), key=lambda entry: excess[entry.key]),)


def _measured(job: Job, environment: LocalEnvironment, plan: Plan, limits: Sequence[Constraint]) -> list[Row] | None:
    """Measure one student and judge it, as what ships is measured and judged; none where that fails."""
    ship = job.settings.ship

    def take(again: bool) -> tuple[Measurement, list[Row]]:
        metrics, found = environment.measure_thoroughly(
            plan,
            seconds=ship.seconds * (THOROUGH_TIME if again else 1),
            starts=(ship.starts or trusted_starts(job.profile)) * (THOROUGH_STARTS if again else 1),
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
