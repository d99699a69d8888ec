"""Whether a model got worse than an earlier one: by measuring both in turns, or by what a result.json recorded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Conditions
from deploycompress.pipeline.gate import Row, make_row
from deploycompress.pipeline.result import MODEL_FILE

Record = Mapping[str, Any]  # Any: parsed JSON

COUNTED = frozenset({"params", "macs", "weights", "file"})
"""What arithmetic tells, so that it may be compared between machines."""

STORED: Mapping[str, str] = {
    "latency": "latency_ms",
    "params": "params",
    "macs": "macs",
    "weights": "weights_bytes",
    "file": "file_bytes",
    "activation_peak": "activation_peak_bytes",
    "peak_rss": "peak_rss_bytes",
}
"""Quantities that may regress, and what result.json calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much worse a quantity may get.

    Attributes:
        quantity: one of `STORED`.
        share: growth that is allowed, 0.05 for 5 %.
    """

    quantity: str
    share: float

    @property
    def expression(self) -> str:
        """The limit in words."""
        return f"{self.quantity} <= {1 + self.share:g} * baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a model is held against.

    Attributes:
        name: the file that was given.
        model: the earlier model, to be measured again; None when it is not at hand.
        record: content of its result.json; None when a model file was given.
    """

    name: str
    model: Path | None
    record: Record | None


def parse_allowance(text: str) -> Allowance:
    """Read `latency=5%`.

    Raises:
        UsageError: the quantity is not known, or the rest is no percentage from zero.
    """
    quantity, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or quantity not in STORED:
        raise UsageError(
            f"--max-regression {text!r} is not of the form QUANTITY=PERCENT%, such as latency=5%; quantities are "
            f"{', '.join(STORED)}."
        )
    try:
        percent = float(rest.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not rest.endswith("%") or not 0 <= percent < math.inf:
        raise UsageError(f"--max-regression {text!r}: {rest!r} is no percentage from 0%, such as 5%.")
    return Allowance(quantity=quantity, share=percent / 100)


def read_baseline(path: Path) -> Baseline:
    """Read a result.json, with the model beside it where there is one, or take a model file.

    Raises:
        UsageError: there is no such file, it is no result of this program, or the model beside it is another one.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r} to compare with; give a result.json or a model.")
    if path.suffix != ".json":
        return Baseline(name=str(path), model=path, record=None)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{str(path)!r} cannot be read as JSON ({error}); give a result.json.") from error
    if not isinstance(record, dict) or not isinstance(record.get("student"), dict):
        raise UsageError(f"{str(path)!r} is no result of 'compress' or 'check --json'; give one, or a model file.")
    return Baseline(name=str(path), model=_model_beside(path, record), record=record)


def why_incomparable(record: Record, conditions: Conditions) -> str:
    """Name what keeps recorded figures from being held against new ones; empty when nothing does.

    Args:
        record: content of a result.json.
        conditions: of the new measurement.
    """
    machine = record.get("machine")
    told: Record = machine if isinstance(machine, dict) else {}
    for what, then, now in (
        ("machine", told.get("id"), conditions.machine.id),
        ("power mode", told.get("power_mode", ""), conditions.machine.power_mode),
        ("ONNX Runtime", told.get("onnxruntime"), conditions.onnxruntime),
        ("profile", record.get("profile"), conditions.profile),
        ("profile's content", record.get("profile_digest"), conditions.profile_digest),
    ):
        if then != now:
            return (
                f"the baseline's {what} is {_short(then)}, this one's is {_short(now)}: such figures are never "
                "merged; give the earlier model's file itself with --baseline, and both are measured here"
            )
    return ""


def judge_growth(
    allowance: Allowance, now: Interval, then: Interval, *, ratio: tuple[float, Interval] | None, evidence: Evidence
) -> Row:
    """Judge how much a quantity grew.

    Args:
        allowance: what may be.
        now: where the new value lies.
        then: where the earlier value lies.
        ratio: of the two with its interval, where both were measured in turns; None to divide the intervals.
        evidence: of the new value.
    """
    value, interval = ratio or (_quotient(_middle(now), _middle(then)), _quotient_interval(now, then))
    return make_row(allowance.expression, value, 1 + allowance.share, interval, evidence=evidence)


def refuse_growth(allowance: Allowance, reason: str, *, evidence: Evidence) -> Row:
    """Make the row of a quantity that cannot be judged."""
    nowhere = Interval(low=-math.inf, high=math.inf)
    return make_row(allowance.expression, math.nan, 1 + allowance.share, nowhere, evidence=evidence, refusal=reason)


def recorded(record: Record, quantity: str) -> Interval | None:
    """Look up what a result.json says of its student; None when it does not say."""
    student = record["student"]
    value = student.get(STORED[quantity])
    if quantity == "peak_rss":
        return _between(student.get("peak_rss_interval_bytes")) or _exact(value)
    if quantity != "latency":
        return _exact(value)
    if not isinstance(value, dict):
        return None
    return _between(value.get("p50_interval")) or _exact(value.get("p50"))


def _model_beside(path: Path, record: Record) -> Path | None:
    model = path.with_name(MODEL_FILE)
    if not model.is_file():
        return None
    artifacts = record.get("artifacts")
    stamp = artifacts.get(MODEL_FILE) if isinstance(artifacts, dict) else None
    promised = stamp.get("sha256") if isinstance(stamp, dict) else None
    found = hashlib.sha256(model.read_bytes()).hexdigest()
    if promised is None:
        # 'check' leaves its document anywhere: a model beside it may be any other.
        return model if found == record.get("sha256") else None
    if found != promised:
        raise UsageError(
            f"{str(model)!r} is not the model that {str(path)!r} is about (another SHA-256); put the right one there, "
            "or give the model file itself with --baseline."
        )
    return model


def _between(bounds: object) -> Interval | None:
    if isinstance(bounds, list) and len(bounds) == 2 and all(_is_number(bound) for bound in bounds):
        return Interval(low=min(bounds), high=max(bounds))
    return None


def _exact(value: object) -> Interval | None:
    return Interval(low=float(value), high=float(value)) if _is_number(value) else None  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _middle(interval: Interval) -> float:
    return interval.low if interval.low == interval.high else (interval.low + interval.high) / 2


def _quotient_interval(now: Interval, then: Interval) -> Interval:
    return Interval(low=_quotient(now.low, then.high), high=_quotient(now.high, then.low))


def _quotient(now: float, then: float) -> float:
    """Divide; what was nothing and still is has not grown."""
    if then > 0:
        return now / then
    return math.inf if now > 0 else 1.0


def _short(value: object) -> str:
    text = "not recorded" if value is None else str(value)
    return repr(text[:12]) if len(text) == 64 else repr(text)
