"""Regressions: what is read, what may be compared with what, and how much growth is too much."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Conditions
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.regression import (
    Allowance,
    judge_growth,
    parse_allowance,
    read_baseline,
    recorded,
    why_incomparable,
)
from deploycompress.profile_files import load_profile
from tests.build import residual_net


def exactly(value: float) -> Interval:
    return Interval(low=value, high=value)


@pytest.mark.parametrize(
    ("text", "quantity", "share"),
    [("latency=5%", "latency", 0.05), (" peak_rss = 12.5% ", "peak_rss", 0.125), ("file=0%", "file", 0.0)],
)
def test_allowances_are_read(text: str, quantity: str, share: float) -> None:
    assert parse_allowance(text) == Allowance(quantity=quantity, share=share)


@pytest.mark.parametrize(
    "text",
    ["", "latency", "latency=5", "latency=-1%", "latency=five%", "latency=inf%", "latency=nan%", "speed=5%", "=5%"],
)
def test_what_is_no_allowance_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-regression"):
        parse_allowance(text)


@pytest.mark.parametrize(
    ("now", "then", "verdict"),
    [
        (exactly(105), exactly(100), "pass"),
        (exactly(106), exactly(100), "fail"),
        (Interval(low=101, high=109), exactly(100), "inconclusive"),
        (Interval(low=98, high=104), Interval(low=100, high=102), "pass"),
        (exactly(0), exactly(0), "pass"),
        (exactly(1), exactly(0), "fail"),
    ],
)
def test_growth_is_judged_by_the_quotient_of_intervals(now: Interval, then: Interval, verdict: str) -> None:
    row = judge_growth(parse_allowance("file=5%"), now, then, ratio=None, evidence=Evidence.ANALYTIC)
    assert (row["verdict"], row["max"]) == (verdict, 1.05)


def test_a_ratio_measured_in_turns_goes_before_the_quotient() -> None:
    row = judge_growth(
        parse_allowance("latency=5%"), exactly(900), exactly(1), ratio=(1.0, Interval(low=0.99, high=1.01)),
        evidence=Evidence.MEASURED,
    )  # fmt: skip
    assert (row["verdict"], row["value"], row["interval"]) == ("pass", 1.0, [0.99, 1.01])


@pytest.fixture(scope="module")
def conditions() -> Iterator[Conditions]:
    with Meter(load_profile("x86")) as meter:
        yield meter.measure(residual_net(), max_seconds=0.0).conditions


def record_of(conditions: Conditions, **changes: Any) -> dict[str, Any]:
    machine = {"id": conditions.machine.id, "onnxruntime": conditions.onnxruntime}
    record = {"machine": machine, "profile": "x86", "profile_digest": conditions.profile_digest, "student": {}}
    machine.update({key: value for key, value in changes.items() if key in machine})
    return {**record, **{key: value for key, value in changes.items() if key not in machine}}


def test_the_same_conditions_may_be_compared(conditions: Conditions) -> None:
    assert why_incomparable(record_of(conditions), conditions) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": "0123"}, "machine is '0123'"),
        ({"onnxruntime": "1.19.2"}, "ONNX Runtime is '1.19.2'"),
        ({"profile": "jetson"}, "profile is 'jetson'"),
        ({"profile_digest": "f" * 64}, "profile's content is 'ffffffffffff'"),
        ({"profile_digest": None}, "profile's content is 'not recorded'"),
        ({"machine": "gone"}, "machine is 'not recorded'"),
    ],
)
def test_what_differs_is_named(conditions: Conditions, changes: dict[str, Any], named: str) -> None:
    assert named in why_incomparable(record_of(conditions, **changes), conditions)


def test_recorded_figures_are_looked_up() -> None:
    latency = {"p50": 2.0, "p50_interval": [1.9, 2.2]}
    student = {"latency_ms": latency, "params": 7, "peak_rss_bytes": None}
    assert recorded({"student": student}, "latency") == Interval(low=1.9, high=2.2)
    assert recorded({"student": {"latency_ms": {"p50": 2.0}}}, "latency") == exactly(2.0)
    assert recorded({"student": student}, "params") == exactly(7.0)
    assert recorded({"student": student}, "peak_rss") is None
    memory = {"peak_rss_bytes": 5, "peak_rss_interval_bytes": [4, 7]}
    assert recorded({"student": memory}, "peak_rss") == Interval(low=4, high=7)
    assert recorded({"student": {"peak_rss_bytes": 5}}, "peak_rss") == exactly(5.0)
    assert recorded({"student": {"latency_ms": "fast"}}, "latency") is None


def write_result(folder: Path, model: bytes) -> Path:
    digest = hashlib.sha256(model).hexdigest()
    path = folder / "result.json"
    path.write_text(json.dumps({"student": {}, "artifacts": {"model.onnx": {"sha256": digest}}}))
    return path


def test_the_model_beside_a_result_is_found_if_it_is_the_one(tmp_path: Path) -> None:
    result = write_result(tmp_path, b"the model")
    assert read_baseline(result).model is None
    (tmp_path / "model.onnx").write_bytes(b"the model")
    assert read_baseline(result).model == tmp_path / "model.onnx"
    (tmp_path / "model.onnx").write_bytes(b"another model")
    with pytest.raises(UsageError, match="another SHA-256"):
        read_baseline(result)


def test_the_model_of_a_check_is_told_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"student": {}, "sha256": hashlib.sha256(b"the model").hexdigest()}))
    (tmp_path / "model.onnx").write_bytes(b"the model")
    assert read_baseline(path).model == tmp_path / "model.onnx"
    (tmp_path / "model.onnx").write_bytes(b"the next model")
    assert read_baseline(path).model is None


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"student": 3}', "[" * 100_000])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"result\.json"):
        read_baseline(path)
