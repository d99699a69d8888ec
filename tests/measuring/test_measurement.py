"""The record: derived statistics, JSON both ways, and the refusal to mix conditions."""

from __future__ import annotations

import json
import pickle
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from deploycompress.constraint import METRICS
from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.measuring import Conditions, FailedMeasurementError, FailureKind, Machine, Measurement
from tests.measuring.test_interval import RECORDED

MACHINE = Machine(id="a", arch="x86_64", board="", cpu="some", cores=2, system="Linux 6", governor="")
CONDITIONS = Conditions(
    machine=MACHINE,
    onnxruntime="1.31.1",
    profile="x86",
    profile_digest="d",
    providers=("CPUExecutionProvider",),
    threads=1,
    percentile=90.0,
    confidence=0.95,
    evidence=Evidence.MEASURED,
)
ROUNDS = tuple(tuple(1000 * sample for sample in RECORDED[start : start + 8]) for start in range(0, 64, 8))
ALONE = Measurement(
    conditions=CONDITIONS,
    model="m",
    baseline="",
    student_ns=ROUNDS,
    baseline_ns=(),
    settled=True,
    load_average=(0.1, 0.2),
    load_seconds=0.01,
    placement={"CPUExecutionProvider": 3},
    weights_bytes=2**20,
    activation_peak_bytes=2**19,
    activation_evidence=Evidence.MEASURED,
)
PAIRED = replace(ALONE, baseline="b", baseline_ns=tuple(tuple(2 * s for s in block) for block in ROUNDS))


def test_statistics_come_from_the_raw_samples() -> None:
    assert ALONE.median_ms == pytest.approx(statistics.median(RECORDED) / 1000)
    assert ALONE.latency_ms == sorted(RECORDED)[57] / 1000  # the 58th of 64 is the first with 90 % at or below
    assert PAIRED.ratio == 0.5
    assert ALONE.latency_interval_ms().low <= ALONE.latency_ms <= ALONE.latency_interval_ms().high
    assert PAIRED.ratio_interval().low <= 0.5 <= PAIRED.ratio_interval().high


def test_metrics_have_the_names_of_constraints_and_nothing_that_was_not_measured() -> None:
    assert set(ALONE.metrics()) == {"latency_ms", "weights_mib", "activation_peak_mib"}
    full = replace(PAIRED, peak_rss_bytes=3 * 2**20).metrics()
    assert set(full) <= set(METRICS)
    assert (full["latency_ratio"], full["peak_rss_mib"], full["weights_mib"]) == (0.5, 3.0, 1.0)


@pytest.mark.parametrize("measurement", [ALONE, PAIRED, replace(PAIRED, peak_rss_bytes=5)])
def test_json_both_ways(measurement: Measurement) -> None:
    assert Measurement.from_json(measurement.to_json()) == measurement


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"surprise": 1}, {"student_ns": []}, {"student_ns": [[0]]}, {"conditions": {}}, {"settled": None}],
)
def test_json_that_is_no_measurement_is_refused(change: dict[str, object]) -> None:
    record = json.loads(PAIRED.to_json()) | change
    if change == {"settled": None}:
        del record["settled"]
    with pytest.raises(MeasureError):
        Measurement.from_json(json.dumps(record))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(MeasureError, match="Not a measurement"):
        Measurement.from_json("samples")


def test_repetitions_under_equal_conditions_are_pooled() -> None:
    pooled = PAIRED.pooled_with(PAIRED)
    assert len(pooled.samples_ns) == len(pooled.baseline_samples_ns) == 128
    assert pooled.ratio == PAIRED.ratio


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(PAIRED, conditions=replace(CONDITIONS, machine=replace(MACHINE, id="z"))), "machine"),
        (replace(PAIRED, conditions=replace(CONDITIONS, profile="jetson")), "profile"),
        (replace(PAIRED, conditions=replace(CONDITIONS, profile_digest="e")), "profile_digest"),
        (replace(PAIRED, conditions=replace(CONDITIONS, onnxruntime="1.19.2")), "onnxruntime"),
        (replace(PAIRED, conditions=replace(CONDITIONS, evidence=Evidence.PROXY)), "evidence"),
        (replace(PAIRED, model="other"), "model"),
        (replace(PAIRED, baseline="other"), "baseline"),
    ],
)
def test_samples_of_different_conditions_are_never_merged(other: Measurement, named: str) -> None:
    with pytest.raises(MeasureError, match=f"different {named} "):
        PAIRED.pooled_with(other)


def test_a_comparison_without_a_baseline_is_refused() -> None:
    with pytest.raises(MeasureError, match="measured alone"):
        _ = ALONE.ratio
    with pytest.raises(MeasureError, match="do not pair"):
        replace(PAIRED, baseline_ns=PAIRED.baseline_ns[:-1])
    with pytest.raises(MeasureError, match="both"):
        replace(PAIRED, baseline="")


def test_a_failure_survives_the_way_between_processes() -> None:
    failure = pickle.loads(pickle.dumps(FailedMeasurementError(FailureKind.HANG, "It hung.")))
    assert (failure.kind, str(failure), failure.exit_code) == (FailureKind.HANG, "It hung.", 4)


def test_the_record_says_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "measurement.json"
    path.write_text(PAIRED.to_json())
    conditions = Measurement.from_json(path.read_text()).conditions
    assert (conditions.machine, conditions.evidence) == (MACHINE, Evidence.MEASURED)
