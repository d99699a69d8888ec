"""The record: derived statistics, JSON both ways, and the refusal to mix conditions."""

from __future__ import annotations

import json
import pickle
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploycompress.constraint import METRICS
from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.measuring import (
    Conditions,
    FailedMeasurementError,
    FailureKind,
    Interval,
    Machine,
    MachineState,
    Measurement,
)
from deploycompress.measuring.interval import quantile_interval
from deploycompress.measuring.measurement import Rounds
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
    starts=(len(ROUNDS),),
    student_ns=ROUNDS,
    baseline_ns=(),
    redone_rounds=0,
    states=(MachineState(), MachineState(governor="performance", frequency_khz=2_400_000, throttled=False)),
    settled=True,
    load_seconds=0.01,
    first_run_ns=3_000_000,
    placement={"CPUExecutionProvider": 3},
    file_bytes=2**21,
    weights_bytes=2**20,
    activation_peak_bytes=2**19,
    activation_evidence=Evidence.MEASURED,
)
PAIRED = replace(ALONE, baseline="b", baseline_ns=tuple(tuple(2 * s for s in block) for block in ROUNDS))


def with_starts(ratios: list[list[float]], *, jitter_ns: int = 0) -> Measurement:
    """Make a measurement of which each process has rounds with these ratios."""
    flat = [ratio for process in ratios for ratio in process]
    return replace(
        PAIRED,
        starts=tuple(len(process) for process in ratios),
        student_ns=tuple((round(1e6 * ratio) + jitter_ns,) * 3 for ratio in flat),
        baseline_ns=((1_000_000,) * 3,) * len(flat),
    )


def test_statistics_come_from_the_raw_samples() -> None:
    assert ALONE.median_ms == pytest.approx(statistics.median(RECORDED) / 1000)
    assert ALONE.latency_ms == sorted(RECORDED)[57] / 1000  # the 58th of 64 is the first with 90 % at or below
    assert PAIRED.ratio == 0.5
    assert ALONE.latency_interval_ms().low <= ALONE.latency_ms <= ALONE.latency_interval_ms().high
    assert PAIRED.ratio_interval().low <= 0.5 <= PAIRED.ratio_interval().high


def test_the_ratio_is_taken_within_rounds_and_within_processes() -> None:
    found = with_starts([[0.5, 0.6, 0.7], [0.5, 0.5, 9.0], [0.8]])
    assert found.round_ratios == pytest.approx([0.5, 0.6, 0.7, 0.5, 0.5, 9.0, 0.8])
    assert found.start_ratios == pytest.approx([0.6, 0.5, 0.8])
    assert found.ratio == pytest.approx(0.6)


def test_interruptions_of_long_runs_do_not_flatter_the_short_ones() -> None:
    found = replace(
        PAIRED,
        starts=(3,),
        student_ns=((50, 50, 50, 50, 50, 450, 50),) * 3,
        baseline_ns=((100, 500), (500, 100), (100, 100)),
    )
    assert found.round_ratios == (0.5, 0.5, 0.5)


def test_more_runs_of_one_model_do_not_make_it_look_faster() -> None:
    rng = np.random.default_rng(0)
    runs = [tuple(int(run) for run in 1000 + rng.exponential(200, 9)) for _ in range(400)]
    found = replace(
        PAIRED, starts=(400,), student_ns=tuple(runs), baseline_ns=tuple(some[:2] for some in reversed(runs))
    )
    assert found.ratio == pytest.approx(1.0, abs=0.02)


def test_drift_that_both_models_share_does_not_move_the_ratio() -> None:
    drift = [1, 3, 2, 7, 1, 5, 1, 1]
    drifting = replace(
        PAIRED,
        student_ns=tuple(tuple(factor * s for s in block) for factor, block in zip(drift, ROUNDS, strict=True)),
        baseline_ns=tuple(tuple(2 * factor * s for s in block) for factor, block in zip(drift, ROUNDS, strict=True)),
    )
    assert drifting.ratio == 0.5
    assert drifting.ratio_interval() == Interval(low=0.5, high=0.5)


def test_enough_processes_bound_the_ratio_and_too_few_leave_it_to_the_rounds() -> None:
    of_starts = [0.97, 1.01, 1.03, 0.99, 1.00, 1.02]
    many = with_starts([[ratio - 0.001, ratio, ratio + 0.001] for ratio in of_starts])
    assert many.ratio_interval() == quantile_interval(many.start_ratios, 0.5, 0.95)
    assert (many.ratio_interval().low, many.ratio_interval().high) == pytest.approx((0.97, 1.03))
    few = with_starts([[ratio - 0.001, ratio, ratio + 0.001] for ratio in of_starts[:5]])
    rounds = quantile_interval(few.round_ratios, 0.5, 0.95)
    assert few.ratio_interval() == rounds.hull(Interval(low=0.97, high=1.03))


def in_two_states(slow: list[int]) -> Measurement:
    """Seven processes; in those that are slow the baseline takes 1.2 times and the model 1.5 times as long."""
    found = with_starts([[0.5, 0.51, 0.49, 0.5]] * 7)

    def slowed(blocks: Rounds, factor: float) -> Rounds:
        return tuple(
            tuple(round(one * factor) for one in block) if place // 4 in slow else block
            for place, block in enumerate(blocks)
        )

    return replace(found, student_ns=slowed(found.student_ns, 1.5), baseline_ns=slowed(found.baseline_ns, 1.2))


@pytest.mark.parametrize("slow", [[], [3], [0]])
def test_processes_in_which_the_baseline_was_slow_do_not_count(slow: list[int]) -> None:
    found = in_two_states(slow)
    assert found.start_ratios == pytest.approx([0.5] * (7 - len(slow)))
    assert found.ratio_interval().high == pytest.approx(0.5)
    assert (found.slow_starts, found.counted_starts) == (len(slow), tuple(sorted({*range(7)} - {*slow})))


def test_where_too_few_processes_are_quiet_all_count() -> None:
    found = in_two_states([1, 4])
    assert found.start_ratios == pytest.approx([0.5, 0.625, 0.5, 0.5, 0.625, 0.5, 0.5])
    assert found.ratio_interval().high == pytest.approx(0.625)
    assert (found.slow_starts, found.counted_starts) == (2, tuple(range(7)))


def test_a_model_that_is_slow_alone_gains_nothing() -> None:
    found = with_starts([[0.5] * 4] * 7)
    student = tuple(tuple(3 * one for one in block) for block in found.student_ns[:16]) + found.student_ns[16:]
    unlucky = replace(found, student_ns=student)
    assert (unlucky.slow_starts, unlucky.ratio) == (0, 1.5)


def test_how_slow_a_model_alone_was_is_not_told() -> None:
    with pytest.raises(MeasureError, match="measured alone"):
        _ = ALONE.slow_starts


@pytest.mark.parametrize("lengths", [(8, 30), (30, 8), (4, 40, 4), (2, 2, 2, 60, 2)])
def test_the_ratio_of_few_processes_of_different_length_lies_in_its_interval(lengths: tuple[int, ...]) -> None:
    found = with_starts([[1.0 + 0.1 * process] * length for process, length in enumerate(lengths)])
    bounds = found.ratio_interval()
    assert bounds.low <= found.ratio <= bounds.high
    assert (bounds.low, bounds.high) == (min(found.start_ratios), max(found.start_ratios))


def test_processes_that_differ_widen_the_interval_of_latency() -> None:
    alike = with_starts([[1.0] * 20] * 7)
    differing = with_starts([[1.0 + process / 10] * 20 for process in range(7)])
    assert alike.latency_interval_ms(50) == Interval(low=1.0, high=1.0)
    bounds = differing.latency_interval_ms(50)
    assert (bounds.low, bounds.high) == pytest.approx((1.0, 1.6))
    alone = replace(differing, starts=(140,)).latency_interval_ms(50)
    assert bounds.low < alone.low <= differing.median_ms <= alone.high < bounds.high


def test_throughput_is_one_over_the_median() -> None:
    assert ALONE.throughput_per_s * ALONE.median_ms == pytest.approx(1000)


def test_every_metric_has_an_interval_around_it() -> None:
    full = replace(PAIRED, peak_rss_bytes=3 * 2**20)
    for metric, value in full.metrics().items():
        assert full.interval(metric).low <= value <= full.interval(metric).high, metric
    assert full.interval("latency_ms") == full.latency_interval_ms()
    assert full.interval("latency_ratio") == full.ratio_interval()
    assert full.interval("file_mib") == Interval(low=2.0, high=2.0)


@pytest.mark.parametrize("metric", ["latency_ratio", "peak_rss_mib", "accuracy"])
def test_what_was_not_measured_has_no_interval(metric: str) -> None:
    with pytest.raises(MeasureError, match=r"baseline|measured were latency_ms"):
        ALONE.interval(metric)


@pytest.mark.parametrize("starts", [(), (7,), (9,), (8, 0), (-1, 9)])
def test_starts_must_make_up_the_rounds(starts: tuple[int, ...]) -> None:
    with pytest.raises(MeasureError, match="do not make 8 rounds"):
        replace(ALONE, starts=starts)


def test_metrics_have_the_names_of_constraints_and_nothing_that_was_not_measured() -> None:
    assert set(ALONE.metrics()) == {"latency_ms", "file_mib", "weights_mib", "activation_peak_mib"}
    full = replace(PAIRED, peak_rss_bytes=3 * 2**20).metrics()
    assert set(full) <= set(METRICS)
    assert (full["latency_ratio"], full["peak_rss_mib"], full["weights_mib"]) == (0.5, 3.0, 1.0)


@pytest.mark.parametrize("measurement", [ALONE, PAIRED, replace(PAIRED, peak_rss_bytes=5)])
def test_json_both_ways(measurement: Measurement) -> None:
    assert Measurement.from_json(measurement.to_json()) == measurement


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"surprise": 1},
        {"student_ns": []},
        {"student_ns": [[0]]},
        {"conditions": {}},
        {"starts": [1]},
        {"states": [{"mood": "good"}]},
        {"settled": None},
    ],
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
    assert pooled.starts == (8, 8)
    assert len(pooled.states) == 4


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
