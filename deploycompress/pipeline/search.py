"""The search chapter: is it possible, what may it cost, which plan wins."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from deploycompress.constraint import ANALYTIC_METRICS, Constraint
from deploycompress.errors import ModelError
from deploycompress.evaluation import Evaluation
from deploycompress.execute.local import LocalEnvironment
from deploycompress.pipeline.budget import SearchBudget, Stopwatch, plan_search
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.ship import prove_surgery
from deploycompress.plan import Plan
from deploycompress.report.progress import Task
from deploycompress.search.engine import Kind
from deploycompress.search.feasible import needed_sparsity, uniform_plan
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import meets, reward
from deploycompress.search.rl_pruner import RlPrunerSettings, State
from deploycompress.search.rl_pruner import engine as rl_pruner

NOISE_MARGIN = 0.03
"""How much stricter the search is on measured limits, so that what ships meets them in spite of noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search settled on.

    Attributes:
        plan: the winner.
        by: whose plan it is: the engine's, or the uniform one taken when the engine found none that meets the limits.
        reason: why the search ended, a sentence.
        evaluations: students that were evaluated.
        measurements: distinct students whose latency was measured.
        seconds: wall time of the search.
        sparsity: uniform share of channels whose removal meets the limits.
        scaled: settings that differ from the engine's own, as (own, scaled).
    """

    plan: Plan
    by: str
    reason: str
    evaluations: int
    measurements: int
    seconds: float
    sparsity: float
    scaled: Mapping[str, tuple[object, object]]


def find_plan(job: Job, environment: LocalEnvironment) -> Found:
    """Search for the plan with the best reward that meets every constraint.

    Raises:
        ConstraintError: even the smallest student breaks a constraint.
        ModelError: no channel group can shrink.
        MeasureError: students cannot be measured.
    """
    started = time.monotonic()
    # Accuracy comes after the search, with the winner's training: a row that reads it is judged on what ships.
    limits = [row for row in job.constraints if "accuracy" not in row.metrics]
    rows = tuple(_with_margin(row) for row in limits)
    with job.progress.stage("probe the limits"):
        sparsity = _probe(job, environment, limits, rows)
        if sparsity == 0.0:
            return Found(
                plan=Plan(),
                by="teacher",
                reason="The teacher meets the constraints already; nothing was cut.",
                evaluations=0,
                measurements=environment.measurements,
                seconds=time.monotonic() - started,
                sparsity=sparsity,
                scaled={},
            )
        fallback = uniform_plan(job.space, environment.scores(), sparsity)
        prove_surgery(job.teacher, fallback, channels=job.channels, seed=job.seed)
        begun = time.monotonic()
        uniform = environment.evaluate(fallback, lambda _: True)
        evaluation_s = time.monotonic() - begun + environment.measuring_s
    budget = plan_search(
        job.clock.left_s,
        space=job.space,
        evaluation_s=evaluation_s,
        sparsity=sparsity,
        evaluations=job.evaluations,
        epochs=job.epochs,
        training=job.settings.training,
        settings=job.settings.search,
    )
    environment.advance_settings = budget.advance
    outcome = _run_engine(job, environment, budget, rows)
    plan, by = _winner(job, environment, outcome, fallback, uniform)
    return Found(
        plan=plan,
        by=by,
        reason=outcome.reason.sentence,
        evaluations=outcome.evaluations,
        measurements=environment.measurements,
        seconds=time.monotonic() - started,
        sparsity=sparsity,
        scaled=_scaled(job.settings.search, budget),
    )


def _winner(
    job: Job, environment: LocalEnvironment, outcome: SearchOutcome[State], fallback: Plan, uniform: Evaluation
) -> tuple[Plan, str]:
    """Choose between the engine's plan and the uniform one, where both were evaluated alike."""
    if not outcome.is_feasible or outcome.plan is None or outcome.evaluation is None:
        return fallback, "uniform"
    if environment.was_distilled(outcome.plan):
        return outcome.plan, "rl-pruner"
    is_better = reward(outcome.evaluation, job.settings.reward) >= reward(uniform, job.settings.reward)
    return (outcome.plan, "rl-pruner") if is_better else (fallback, "uniform")


def _probe(job: Job, environment: LocalEnvironment, limits: list[Constraint], rows: tuple[Constraint, ...]) -> float:
    if not job.space.free and not meets(environment.cheap_metrics(Plan()), limits):
        raise ModelError(
            "No channel group can shrink: none is wider than the profile's channel quantum "
            f"{job.profile.channels.quantum}, or all must stay; use a profile with a smaller quantum."
        )
    return needed_sparsity(job.space, environment.scores(), rows, environment.cheap_metrics, limits=limits)


def _run_engine(
    job: Job, environment: LocalEnvironment, budget: SearchBudget, rows: tuple[Constraint, ...]
) -> SearchOutcome[State]:
    settings = replace(job.settings.reward, constraints=rows)
    state = rl_pruner.init(job.space, budget.engine, settings, job.seed, environment.scores())
    watch = Stopwatch(budget.seconds)
    with job.progress.stage("search", total=budget.engine.evaluations) as task:
        return run(
            rl_pruner,
            state,
            environment,
            should_stop=lambda: budget.seconds is not None and watch.elapsed_s > budget.seconds,
            on_evaluation=lambda entry, _: _tell(task, entry),
            max_evaluations=job.evaluations,
        )


def _tell(task: Task, entry: TraceEntry) -> None:
    task.advance()
    accuracy, ratio = entry.evaluation.accuracy, entry.evaluation.metrics.get("latency_ratio")
    done = "distilled" if entry.proposal.kind is Kind.ADVANCE else "sampled"
    shown = "not taken" if accuracy is None else f"{accuracy:.1%}"
    task.note(f"{done}: accuracy {shown}, latency ratio {'-' if ratio is None else f'{ratio:.3f}'}")


def _with_margin(row: Constraint) -> Constraint:
    return row if row.metrics <= ANALYTIC_METRICS else row.tightened(NOISE_MARGIN)


def _scaled(own: RlPrunerSettings, budget: SearchBudget) -> dict[str, tuple[object, object]]:
    before, after = asdict(own), asdict(budget.engine)
    engine = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    return {**engine, "distil_s": (None, budget.advance.seconds), "distil_epochs": (None, budget.advance.epochs)}
