"""The last heat of a search in 8 bits: its best students are quantised and judged in ONNX Runtime before one wins."""

from __future__ import annotations

from deploycompress.execute.local import LocalEnvironment
from deploycompress.network.module import from_torch
from deploycompress.pipeline.int8 import quickly_in_int8, validation_score
from deploycompress.pipeline.job import Job
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.search.outcome import TraceEntry, best_few
from deploycompress.search.reward import RewardSettings
from deploycompress.surgery.shipped import shipped_form


def choose_finalist(
    job: Job, environment: LocalEnvironment, trace: tuple[TraceEntry, ...], settings: RewardSettings
) -> Plan | None:
    """Choose among the best students of a search by their score less what 8 bits cost them.

    That cost is taken in ONNX Runtime, on students that are recovered without training: what they will be worth after
    it, the search's own score tells better.

    Returns:
        The plan of the best; none where there is nothing to choose.
    """
    few = best_few(trace, settings, job.settings.quantization.finalists)
    if job.precision is not Precision.INT8 or len(few) < 2:
        return None
    with job.progress.stage("judge finalists in int8", total=len(few)) as task:
        scores = []
        for entry in few:
            shipped = shipped_form(from_torch(environment.prepared(entry.plan)))
            lost = validation_score(job, shipped) - quickly_in_int8(job, shipped).score
            scores.append((entry.evaluation.accuracy or 0.0) - lost)
            task.advance()
    return few[max(range(len(few)), key=lambda index: scores[index])].plan
