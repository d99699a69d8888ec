"""A document of `check` for the tests of its reports."""

from __future__ import annotations

from typing import Any


def row(expression: str, verdict: str | None, *, value: float | None = 0.5, reason: str = "") -> dict[str, Any]:
    return {
        "expression": expression,
        "value": value,
        "max": 1.0,
        "interval": [None, None] if value is None else [value - 0.125, value + 0.125],
        "verdict": verdict,
        "ok": {"pass": True, "fail": False}.get(verdict or ""),
        "evidence": "measured",
        "reason": reason or ("" if verdict else "nobody measured it"),
    }


def document(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "model": "model.onnx",
        "sha256": "ab" * 32,
        "teacher": None,
        "baseline": None,
        "verdict": "fail",
        "exit_code": 1,
        "profile": "x86",
        "machine": {"id": "0123456789ab", "cpu": "A processor", "arch": "x86_64", "onnxruntime": "1.31.1"},
        "confidence": 0.95,
        "evidence": "measured",
        "remarks": [],
        "constraints": list(rows),
        "not_judged": [],
        "student": {"latency_ms": {"p50": 1.0, "n": 64}},
        **changes,
    }
