"""Builds the content of result.json from records; every number says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.static import macs, params, weights_bytes
from deploycompress.pipeline.data_free import SOURCE
from deploycompress.pipeline.figures import describe_latency
from deploycompress.pipeline.final import Final
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.lower import Lowered
from deploycompress.pipeline.margin import NOISE_MARGIN
from deploycompress.pipeline.precision_part import describe_lowered_parity, describe_precision
from deploycompress.pipeline.precision_table import PrecisionRow
from deploycompress.pipeline.result import MODEL_FILE, SCHEMA, describe_artifact
from deploycompress.pipeline.rounds import plan_rounds
from deploycompress.pipeline.search import Found
from deploycompress.pipeline.ship import Parity
from deploycompress.precision import Precision
from deploycompress.train.distil_settings import DistilReport
from deploycompress.train.refit_settings import RefitReport
from deploycompress.train.score import ACCURACY

Document = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a finished run has to tell.

    Attributes:
        lowered: the graph that ships, and how it came to its precision.
        model: its bytes.
        baseline: the teacher with batch norm folded, as it would ship.
        teacher_measurement: of the baseline's memory.
        measurement: of the shipped bytes beside the baseline, in one run.
        final: the score of teacher and student, in ONNX Runtime.
        teacher_validated: the teacher's score on the split that rewards saw.
        rows: constraints as judged.
        parity: proofs of equality.
        found: what the search settled on.
        training: of the winner.
        refitted: what fitting the winner's layers did before; none where it was not done.
        precisions: teacher and student in single precision and in the one that ships; none where that is the same.
        seconds: wall time by stage.
    """

    lowered: Lowered
    model: bytes
    baseline: Graph
    teacher_measurement: Measurement
    measurement: Measurement
    final: Final
    teacher_validated: float
    rows: list[dict[str, object]]
    parity: Parity
    found: Found
    training: DistilReport
    refitted: RefitReport | None
    precisions: tuple[PrecisionRow, ...]
    seconds: Mapping[str, float]


def build_document(job: Job, outcome: Outcome) -> Document:
    """Lay a run out as result.json has it."""
    paired, accuracy = outcome.measurement, outcome.final.accuracy
    teacher = _network(outcome.baseline, outcome.teacher_measurement, accuracy.teacher if accuracy else None)
    teacher["latency_ms"] = {
        "p50": paired.baseline_median_ms,
        "p90": paired.baseline_percentile_ms(90),
        "n": len(paired.baseline_samples_ns),
    }
    student = _network(outcome.lowered.graph, paired, accuracy.student if accuracy else None)
    student["latency_ms"] = {**describe_latency(paired), "p90": paired.percentile_ms(90)}
    student["file_bytes"] = paired.file_bytes
    teacher["file_bytes"] = outcome.teacher_measurement.file_bytes
    ratio = paired.ratio_interval()
    return {
        "schema": SCHEMA,
        "profile": job.profile.name,
        "profile_digest": paired.conditions.profile_digest,
        "machine": {**asdict(paired.conditions.machine), "onnxruntime": paired.conditions.onnxruntime},
        "evidence": str(paired.evidence),
        "seed": job.seed,
        "teacher": teacher,
        "student": student,
        "ratio": {
            "latency": paired.ratio,
            "latency_interval": [ratio.low, ratio.high],
            "params": student["params"] / teacher["params"],
            "macs": student["macs"] / teacher["macs"],
        },
        "score": _score(job, outcome.final),
        "constraints": outcome.rows,
        "parity": {
            "oracle_max_abs_diff": outcome.parity.oracle.max_abs,
            "torch_vs_ort_max_abs_diff": outcome.parity.torch_vs_ort.max_abs,
            **describe_lowered_parity(outcome.parity),
        },
        "search": _search(job, outcome),
        "training": _training(job, outcome),
        "data": _data(job, outcome),
        "precision": describe_precision(job, outcome.lowered, outcome.precisions),
        "plan": json.loads(outcome.lowered.plan.to_json()),
        "frozen": {group.name: group.why for group in job.channels.groups if group.frozen},
        "artifacts": {
            MODEL_FILE: describe_artifact(
                outcome.model, opset=outcome.lowered.graph.opset, ir_version=outcome.lowered.graph.ir_version
            )
        },
    }


def _network(graph: Graph, measurement: Measurement, accuracy: float | None) -> Document:
    return {
        "accuracy": accuracy,
        "params": params(graph),
        "macs": macs(graph),
        "weights_bytes": weights_bytes(graph),
        "activation_peak_bytes": measurement.activation_peak_bytes,
        "peak_rss_bytes": measurement.peak_rss_bytes,
        "evidence": {
            **({} if accuracy is None else {"accuracy": str(Evidence.MEASURED)}),
            **dict.fromkeys(("latency_ms", "peak_rss_bytes"), str(measurement.evidence)),
            "activation_peak_bytes": str(measurement.activation_evidence),
            **dict.fromkeys(("params", "macs", "weights_bytes", "file_bytes"), str(Evidence.ANALYTIC)),
        },
    }


def _score(job: Job, final: Final) -> Document:
    """Say how good the student is, and by which measure, on which images."""
    return {
        "name": job.task.score.name,
        "teacher": final.score.teacher,
        "student": final.score.student,
        "split": final.split,
        "validation": final.validated,
        "relative_error": final.relative_error,
        "evidence": str(Evidence.MEASURED),
    }


def _search(job: Job, outcome: Outcome) -> Document:
    found = outcome.found
    budget = found.budget
    return {
        "engine": job.engine,
        "winner": found.by,
        "reason": found.reason,
        "evaluations": len(found.trace),
        "evaluations_allowed": None if budget is None else budget.evaluations,
        "measurements": found.measurements,
        "seconds": found.seconds,
        "evaluations_per_minute": 60 * len(found.trace) / found.seconds if found.seconds else None,
        "seconds_by_stage": dict(outcome.seconds),
        "distillation_between_steps": None if budget is None else _plain(budget.advance),
        "noise_margin": NOISE_MARGIN,
        "channel_quantum": job.profile.channels.at(job.precision or Precision.FP32).quantum,
        "choices": {
            "blocks": len(found.space.removals),
            "groups": len(found.space.free),
            "kernels": len(found.space.kernels),
        },
        "ladder": _plain(job.settings.ladder),
        "course": _plain(job.settings.course),
        "settings": _plain(job.settings.search),
        "reward": _plain(job.settings.reward),
    }


def _training(job: Job, outcome: Outcome) -> Document:
    report = outcome.training
    return {
        "validation_accuracy": report.accuracy if job.task.score is ACCURACY else None,
        "steps": report.steps,
        "peak_rate": report.peak_rate,
        "images_seen": report.images_seen,
        "seconds": report.seconds,
        "stopped": str(report.stopped),
        "compute": report.compute,
        "views": report.views,
        "pasted": report.pasted,
        "settings": _plain(job.settings.training),
        "rounds": len(plan_rounds(outcome.found.plan, job.settings.recovery.rounds)),
        "refit": _refit(outcome.refitted),
    }


def _refit(report: RefitReport | None) -> Document | None:
    if report is None:
        return None
    return {
        "layers": len(report.layers),
        "kept": sum(layer.kept for layer in report.layers),
        "skipped": dict(report.skipped),
        "images": report.images,
        "seconds": report.seconds,
    }


def _plain(settings: Any) -> Document:  # Any: a record of settings
    """Write settings as JSON has it, without what the run derives."""
    derived = ("constraints", "policies")
    record = {key: value for key, value in asdict(settings).items() if value is not None and key not in derived}
    return dict(json.loads(json.dumps(record, default=str)))


def _data(job: Job, outcome: Outcome) -> Document:
    return {
        "source": "given" if job.made_up is None else SOURCE,
        "synthesis": None if job.made_up is None else job.made_up.describe(),
        "accuracy_split": outcome.final.split if outcome.final.accuracy else None,
        "teacher_validation_accuracy": outcome.teacher_validated if job.task.score is ACCURACY else None,
        "normalization": job.task.normalization.describe(),
        "training": job.task.training.source,
        "training_images": len(job.task.training),
        "validation_images": len(job.task.validation),
        "test": None if job.held_out is None else job.held_out.data.source,
        "test_images": None if job.held_out is None else len(job.held_out.data),
        "test_normalization": None if job.held_out is None else job.held_out.normalization.describe(),
    }
