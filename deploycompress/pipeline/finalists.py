"""The last heat of a search in 8 bits: its best students are quantised and judged in ONNX Runtime before one wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploycompress.execute.local import LocalEnvironment
from deploycompress.network.module import from_torch
from deploycompress.pipeline.int8 import quickly_in_int8, validation_score
from deploycompress.pipeline.job import Job
from deploycompress.precision import Precision
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardSettings, reward
from deploycompress.surgery.shipped import shipped_form


def choose_finalist(
    job: Job, environment: LocalEnvironment, few: Sequence[TraceEntry], settings: RewardSettings
) -> TraceEntry:
    """Choose among the best students of a search, in 8 bits by their reward when these have cost them of their score.

    That cost is taken in ONNX Runtime, on students that are recovered without training: what they will be worth after
    it, the search's own score tells better.

    Args:
        job: says whether 8 bits ship.
        environment: recovers students.
        few: the best students, one at least, the best first.
        settings: reward.
    """
    if job.precision is not Precision.INT8 or len(few) < 2:
        return few[0]
    with job.progress.stage("judge finalists in int8", total=len(few)) as task:
        losses = []
        for entry in few:
            shipped = shipped_form(from_torch(environment.prepared(entry.plan)))
            losses.append(validation_score(job, shipped) - quickly_in_int8(job, shipped).score)
            task.advance()
    return best_in_int8(few, losses, settings)


def best_in_int8(few: Sequence[TraceEntry], losses: Sequence[float], settings: RewardSettings) -> TraceEntry:
    """Give the student with the highest reward once each score is lowered by what 8 bits cost; of equals the first."""
    rewards = []
    for entry, lost in zip(few, losses, strict=True):
        evaluation = entry.evaluation
        metrics = {**evaluation.metrics, "accuracy": (evaluation.accuracy or 0.0) - lost}
        rewards.append(reward(replace(evaluation, metrics=metrics), settings))
    return few[max(range(len(few)), key=lambda index: rewards[index])]
