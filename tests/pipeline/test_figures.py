"""What a reader is told beside the numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deploycompress.evaluation import Evidence
from deploycompress.measuring.conditions import MachineState
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.figures import describe_latency, ends, remarks
from deploycompress.profile_files import load_profile
from tests.build import residual_net

QUIET = MachineState(governor="performance", throttled=False, load_average=0.1)


@pytest.fixture(scope="module")
def quiet() -> Measurement:
    with Meter(load_profile("x86")) as meter:
        found = meter.measure(residual_net(), max_seconds=0.0)
    return replace(found, states=(QUIET, QUIET), redone_rounds=0, settled=True)


def test_a_quiet_machine_needs_no_remark(quiet: Measurement) -> None:
    assert remarks([quiet, quiet]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"states": (QUIET, replace(QUIET, throttled=True))}, "throttled"),
        ({"states": (replace(QUIET, governor="powersave"), QUIET)}, "governor is powersave"),
        ({"states": (replace(QUIET, load_average=3.25), QUIET)}, "load average 3.2"),
        ({"redone_rounds": 3}, "3 rounds were disturbed"),
        ({"settled": False}, "had not settled"),
    ],
)
def test_what_disturbed_is_told_once(quiet: Measurement, changes: dict[str, object], words: str) -> None:
    disturbed = replace(quiet, **changes)  # type: ignore[arg-type]  # each case changes a field of another type
    (remark,) = remarks([disturbed, disturbed])
    assert words in remark


def test_proxy_is_told(quiet: Measurement) -> None:
    elsewhere = replace(quiet, conditions=replace(quiet.conditions, evidence=Evidence.PROXY))
    assert remarks([elsewhere])[0].startswith("proxy: ")


def test_a_ratio_of_too_few_processes_is_told() -> None:
    with Meter(load_profile("x86")) as meter:
        paired = meter.measure(residual_net(), baseline=residual_net(), max_seconds=0.0)
    calm = replace(paired, states=(QUIET, QUIET), redone_rounds=0, settled=True)
    (remark,) = remarks([calm])
    assert "from 1 process," in remark
    assert "--starts 6" in remark  # 2 * 0.5^6 is the first below 1 - 0.95
    rounds = calm.student_ns * 6
    enough = replace(calm, starts=calm.starts * 6, student_ns=rounds, baseline_ns=calm.baseline_ns * 6)
    assert remarks([enough]) == []


@pytest.mark.parametrize(("slow", "words"), [(1, "that of the others"), (2, "that of all, for the others are too few")])
def test_processes_that_something_disturbed_are_told(slow: int, words: str) -> None:
    with Meter(load_profile("x86")) as meter:
        paired = meter.measure(residual_net(), baseline=residual_net(), max_seconds=0.0)
    baseline = (paired.baseline_ns,) * (7 - slow) + (
        tuple(tuple(2 * one for one in block) for block in paired.baseline_ns),
    ) * slow
    disturbed = replace(
        paired,
        states=(QUIET, QUIET),
        redone_rounds=0,
        settled=True,
        starts=paired.starts * 7,
        student_ns=paired.student_ns * 7,
        baseline_ns=tuple(block for process in baseline for block in process),
    )
    (remark,) = remarks([disturbed])
    assert f"in {slow} of 7 processes" in remark
    assert words in remark


def test_another_power_mode_is_told_of_the_device_only(quiet: Measurement) -> None:
    conditions = quiet.conditions
    slow = replace(quiet, conditions=replace(conditions, machine=replace(conditions.machine, power_mode="15W")))
    assert remarks([slow], power_mode="15W") == remarks([slow]) == []
    (remark,) = remarks([slow], power_mode="MAXN")
    assert "15W" in remark
    assert "MAXN" in remark
    elsewhere = replace(slow, conditions=replace(slow.conditions, evidence=Evidence.PROXY))
    assert len(remarks([elsewhere], power_mode="MAXN")) == 1


def test_intervals_are_written_with_null_where_open() -> None:
    assert ends(Interval(low=-math.inf, high=2.0)) == [None, 2.0]


def test_latency_is_laid_out_as_result_json_has_it(quiet: Measurement) -> None:
    told = describe_latency(quiet)
    assert told["p50"] == quiet.median_ms
    assert told["p50_interval"][0] <= told["p50"] <= told["p50_interval"][1]
    assert (told["p90"], told["n"], told["starts"]) == (quiet.latency_ms, len(quiet.samples_ns), 1)
