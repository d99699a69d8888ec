"""What a calibration found, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploycompress.calibration.findings import Staircase
from deploycompress.calibration.layer_table import EVIDENCE
from deploycompress.pipeline.calibrate import Calibration

SCHEMA = 1

Document = dict[str, Any]  # Any: JSON


def calibration_document(calibration: Calibration, *, profile: str, model: str, out: Path) -> Document:
    """Describe a calibration as JSON of schema 1.

    Args:
        calibration: what was found.
        profile: name of the profile that was calibrated.
        model: the model's file.
        out: the calibrated profile's file.
    """
    conditions = calibration.conditions
    return {
        "schema": SCHEMA,
        "profile": profile,
        "model": model,
        "precision": str(calibration.precision),
        "date": calibration.date,
        "machine": {"id": conditions.machine.id, "cpu": conditions.machine.cpu, "arch": conditions.machine.arch},
        "onnxruntime": conditions.onnxruntime,
        "providers": list(conditions.providers),
        "threads": conditions.threads,
        "evidence": str(conditions.evidence),
        "quantum": calibration.quanta.quantum,
        "quanta": calibration.quanta.model_dump(mode="json")["quanta"],
        "staircases": [_staircase(staircase) for staircase in calibration.staircases],
        "without_rule": list(calibration.without_rule),
        "table": _table(calibration),
        "seconds": calibration.seconds,
        "out": str(out),
    }


def _staircase(staircase: Staircase) -> Document:
    sweep = staircase.sweep
    return {
        "kind": sweep.layer.kind,
        "side": str(sweep.side),
        "share_of_macs": staircase.share,
        "fixed_width": sweep.fixed or None,
        "size": list(sweep.size),
        "quantum": staircase.finding.quantum,
        "at_least": staircase.finding.at_least,
        "verdict": staircase.verdict,
        "rises": [
            {"step": rise.step, "value": rise.value, "low": rise.low, "high": rise.high}
            for rise in staircase.finding.rises
        ],
        "widths": [
            {"width": step.width, "ms": step.ms, "low_ms": step.low_ms, "high_ms": step.high_ms}
            for step in staircase.times
        ],
    }


def _table(calibration: Calibration) -> Document | None:
    if calibration.table is None:
        return None
    error = calibration.table.error
    return {
        "path": str(calibration.table_path),
        "students": calibration.students,
        "median_error": error.median,
        "worst_error": error.worst,
        "evidence": str(EVIDENCE),
    }
