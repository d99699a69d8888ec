"""The part of result.json that tells of the precision: what was lowered, what was not, and what that alone gives."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deploycompress.evaluation import Evidence
from deploycompress.pipeline.figures import ends
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.lower import Lowered
from deploycompress.pipeline.precision_table import PrecisionRow
from deploycompress.pipeline.ship import Parity
from deploycompress.precision import Precision

Document = dict[str, Any]  # Any: JSON


def describe_precision(job: Job, lowered: Lowered, rows: tuple[PrecisionRow, ...]) -> Document:
    """Tell how the student came to its precision."""
    trained = lowered.trained
    is_int8 = lowered.precision is Precision.INT8
    return {
        "name": str(lowered.precision),
        "kept_single": dict(lowered.kept),
        "higher": list(lowered.plan.higher),
        "ranges": lowered.ranges or None,
        "steps": list(lowered.steps),
        "calibration_images": min(job.settings.quantization.images, len(job.task.training)) if is_int8 else None,
        "validation": {
            "calibrated": lowered.calibrated,
            "trained": lowered.scored,
            "shipped": "trained" if lowered.ships_trained else "calibrated",
        }
        if is_int8
        else None,
        "training": None
        if trained is None
        else {
            "steps": trained.steps,
            "images_seen": trained.images_seen,
            "seconds": trained.seconds,
            "peak_rate": trained.peak_rate,
            "stopped": str(trained.stopped),
        },
        "settings": asdict(job.settings.quantization) if is_int8 else None,
        "format": job.profile.precision.int8.model_dump() if is_int8 else None,
        "table": [_row(row) for row in rows],
    }


def describe_lowered_parity(parity: Parity) -> Document:
    """Give the difference between torch and ONNX Runtime of what ships, where that is not single precision."""
    if parity.lowered is None:
        return {}
    return {"lowered_max_abs_diff": parity.lowered.max_abs, "lowered_relative_diff": parity.lowered.relative}


def _row(row: PrecisionRow) -> Document:
    found = row.measurement
    return {
        "network": row.network,
        "precision": str(row.precision),
        "score": row.score,
        "latency_ms": found.median_ms,
        "latency_ratio": found.ratio,
        "latency_ratio_interval": ends(found.ratio_interval()),
        "activation_peak_bytes": found.activation_peak_bytes,
        "peak_rss_bytes": found.peak_rss_bytes,
        "file_bytes": found.file_bytes,
        "evidence": {
            "score": str(Evidence.MEASURED),
            **dict.fromkeys(("latency_ms", "latency_ratio", "peak_rss_bytes"), str(found.evidence)),
            "activation_peak_bytes": str(found.activation_evidence),
            "file_bytes": str(Evidence.ANALYTIC),
        },
    }
