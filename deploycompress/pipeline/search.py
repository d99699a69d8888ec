"""The search chapter: is it possible, what may it cost, which plan wins."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploycompress.constraint import Constraint
from deploycompress.errors import ModelError, UsageError
from deploycompress.execute.local import LocalEnvironment
from deploycompress.pipeline.budget import ADVANCE_CHECKS, SearchBudget, Stopwatch, plan_search
from deploycompress.pipeline.checkpoint import Allowance, Checkpoint, Resumed, SearchTask
from deploycompress.pipeline.confirm import confirmed
from deploycompress.pipeline.finalists import choose_finalist
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.margin import stricter
from deploycompress.pipeline.policies import policy_bytes
from deploycompress.pipeline.ship import prove_surgery
from deploycompress.pipeline.space import measurements_needed, singles, with_savings
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.report.progress import Task
from deploycompress.report.search_table import row_of
from deploycompress.search import load_engine
from deploycompress.search.engine import Engine, Kind
from deploycompress.search.feasible import check_limits, small_candidates
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry, best_of, is_feasible
from deploycompress.search.reward import RewardSettings, meets
from deploycompress.search.space import Candidate, Space
from deploycompress.search.tightening import tightened

MARGINS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""How much below the limits a first student is foreseen to be, tried one after the other until it meets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search settled on.

    Attributes:
        plan: the winner.
        by: whose plan it is: the engine's, or the first one that met the limits when the engine found none.
        reason: why the search ended, a sentence.
        trace: evaluations of the search.
        measurements: different networks whose latency was measured.
        seconds: wall time of the search, of this process.
        budget: what it was allowed; none when it was not needed.
        space: what there was to decide about.
        rows: the constraints as the search saw them.
        policy: content of a policy file; none for an engine without a policy.
    """

    plan: Plan
    by: str
    reason: str
    trace: tuple[TraceEntry, ...] = ()
    measurements: int = 0
    seconds: float = 0.0
    budget: SearchBudget | None = None
    space: Space
    rows: tuple[Constraint, ...] = ()
    policy: bytes | None = None


def find_plan(job: Job, environment: LocalEnvironment, checkpoint: Checkpoint, resumed: Resumed) -> Found:
    """Search for the plan with the best reward that meets every constraint.

    Raises:
        ConstraintError: even the smallest student breaks a constraint.
        ModelError: nothing can go.
        MeasureError: students cannot be measured.
        UsageError: the budget does not suffice for one evaluation.
    """
    started = time.monotonic()
    # Accuracy comes after the search, with the winner's training: a row that reads it is judged on what ships.
    limits = [row for row in job.constraints if "accuracy" not in row.metrics]
    rows = tuple(stricter(row) for row in limits)
    if meets(environment.measure(Candidate()).metrics, rows):
        reason = "The teacher meets the constraints already; nothing was cut."
        return Found(plan=Plan(), by="teacher", reason=reason, space=job.space, measurements=environment.measurements)
    if job.space.is_empty:
        quantum = job.profile.channels.at(job.precision or Precision.FP32).quantum
        raise ModelError(
            "Nothing can go: no block may be removed, and no channel group is wider than the profile's channel quantum "
            f"{quantum} and free; use a profile with a smaller quantum."
        )
    space = _measured_space(job, environment)
    with job.progress.stage("probe the limits"):
        check_limits(space, limits, environment.measure)
        space = with_savings(job.space, environment.measure)  # beside the teacher as fast as it was seen by now
        first = _first_student(space, limits, rows, environment, job.seed)
        prove_surgery(job.teacher, environment.plan(first), seed=job.seed)
        evaluation_s = _evaluation_seconds(environment, first, job.settings.ladder)
    budget = _budget(job, evaluation_s, resumed)
    environment.advance_settings = budget.advance
    outcome = _run_engine(job, environment, space, budget, rows, checkpoint, resumed)
    plan, by = _winner(job, environment, outcome, replace(job.settings.reward, constraints=rows))
    return Found(
        plan=plan or environment.plan(first),
        by=by,
        reason=outcome.reason.sentence,
        trace=outcome.trace,
        measurements=environment.measurements,
        seconds=time.monotonic() - started,
        budget=budget,
        space=space,
        rows=rows,
        policy=policy_bytes(job.engine, outcome.state, _note(job, outcome)),
    )


def _winner(
    job: Job, environment: LocalEnvironment, outcome: SearchOutcome[Any], settings: RewardSettings
) -> tuple[Plan | None, str]:
    """Choose among the best students of a search, and say whose plan it is; none where it found none."""
    wanted = job.settings.quantization.finalists if job.precision is Precision.INT8 else 1
    few = confirmed(job, environment, outcome.trace, settings, wanted)
    if not few:
        return None, "the first student that met the limits"
    won = choose_finalist(job, environment, few, settings)
    if won is not few[0]:
        return won.plan, f"{job.engine}, the finalist that is best in int8"
    is_best = outcome.best is not None and outcome.best.key == won.key
    return won.plan, job.engine if is_best else f"{job.engine}, the best that meets the limits measured thoroughly"


def _budget(job: Job, evaluation_s: float, resumed: Resumed) -> SearchBudget:
    """Plan what the search may cost, or go on with what was planned before it was interrupted."""
    if resumed.progress is None:
        return plan_search(
            job.clock.left_s,
            evaluation_s=evaluation_s,
            evaluations=job.evaluations,
            epochs=job.epochs,
            training=job.settings.training,
        )
    left = resumed.progress.allowance
    between = replace(job.settings.training, seconds=left.advance_s, epochs=left.advance_epochs, checks=ADVANCE_CHECKS)
    return SearchBudget(evaluations=left.evaluations, advance=between, seconds=left.search_s)


def _measured_space(job: Job, environment: LocalEnvironment) -> Space:
    with job.progress.stage("measure what each choice saves", total=measurements_needed(job.space)) as task:
        environment.measure_ahead(singles(job.space))
        return with_savings(job.space, environment.measure, task.advance)


def _first_student(
    space: Space, limits: list[Constraint], rows: tuple[Constraint, ...], environment: LocalEnvironment, seed: int
) -> Candidate:
    """Find some student that meets the limits and is not much smaller than it must be, if there is one."""
    rng = np.random.default_rng(seed)
    for margin in MARGINS:
        stricter = [row.tightened(margin) for row in rows]
        candidate = tightened(space, Candidate(), stricter, lambda some: some[int(rng.integers(len(some)))])
        if meets(environment.measure(candidate).metrics, rows):
            return candidate
    return next(one for one in small_candidates(space) if meets(environment.measure(one).metrics, limits))


def _evaluation_seconds(environment: LocalEnvironment, candidate: Candidate, ladder: Ladder) -> float:
    """Take a student up the whole ladder, and foresee from that what a student costs on average."""
    evaluation = environment.measure(candidate)
    seconds = environment.measuring_s
    for rung, steps in enumerate(ladder.steps):
        begun = time.monotonic()
        evaluation = environment.judge(candidate, evaluation, steps)
        seconds += (time.monotonic() - begun) * ladder.share**rung
    return seconds


def _run_engine(
    job: Job,
    environment: LocalEnvironment,
    space: Space,
    budget: SearchBudget,
    rows: tuple[Constraint, ...],
    checkpoint: Checkpoint,
    resumed: Resumed,
) -> SearchOutcome[Any]:
    engine: Engine[Any] = load_engine(job.engine)
    settings = replace(job.settings.reward, constraints=rows)
    if resumed.progress is not None:
        state = engine.restore(resumed.progress.state)
        _recall(environment, resumed)
    else:
        state = engine.init(
            space, settings, settings=job.settings.search, evaluations=budget.evaluations, seed=job.seed
        )
    checkpoint.begin(SearchTask(reward=settings, space=space, score=job.task.score.name), resumed)
    watch = Stopwatch(budget.seconds)
    entries = list(resumed.trace)
    with job.progress.stage("search", total=budget.evaluations) as task:
        task.advance(len(entries))

        def keep(entry: TraceEntry, after: Any) -> None:  # Any: the engine's own state
            entries.append(entry)
            student = environment.checkpoint() if _has_advanced(entry) else None
            allowance = Allowance(
                evaluations=budget.evaluations,
                search_s=None if budget.seconds is None else max(budget.seconds - watch.elapsed_s, 0.0),
                advance_s=budget.advance.seconds,
                advance_epochs=budget.advance.epochs,
            )
            text = after.to_json()
            checkpoint.keep(entry, text, spent_s=job.clock.elapsed_s, allowance=allowance, student=student)
            _tell(task, entries, settings, budget.evaluations, after.entropy, job.task.score.name)

        return run(
            engine,
            state,
            environment,
            ladder=job.settings.ladder,
            should_stop=lambda: budget.seconds is not None and watch.elapsed_s > budget.seconds,
            on_evaluation=keep,
            max_evaluations=budget.evaluations,
            trace=resumed.trace,
        )


def _recall(environment: LocalEnvironment, resumed: Resumed) -> None:
    """Bring an environment to where it was: its students, and which weights each plan was judged with.

    Raises:
        UsageError: a student cannot be read, or there is another number of them than the search advanced to.
    """
    advances = sum(map(_has_advanced, resumed.trace))
    if advances != len(resumed.students):
        raise UsageError(
            f"The search advanced {advances} times, {len(resumed.students)} students were kept; start the run anew."
        )
    students = iter(resumed.students)
    for entry in resumed.trace:
        if _has_advanced(entry):
            environment.restore(next(students))
        elif entry.evaluation.climb:
            environment.recall(entry.plan)


def _has_advanced(entry: TraceEntry) -> bool:
    return entry.proposal.kind is Kind.ADVANCE and not entry.evaluation.is_degenerate


def _tell(
    task: Task,
    entries: list[TraceEntry],
    settings: RewardSettings,
    evaluations: int,
    entropy: float | None,
    score: str,
) -> None:
    best = best_of(entries, settings)
    shown = best if best is not None and is_feasible(best.evaluation, settings) else None
    task.advance()
    task.row(
        row_of(entries[-1], settings, index=len(entries), of=evaluations, best=shown, entropy=entropy, score=score)
    )


def _note(job: Job, outcome: SearchOutcome[Any]) -> Mapping[str, str]:
    return {
        "engine": job.engine,
        "profile": job.profile.name,
        "evaluations": str(len(outcome.trace)),
        "layers": str(len(job.space.layers)),
        "seed": str(job.seed),
    }
