"""What rows of result.json say: by the interval where one was measured, and by what the numbers mean."""

from __future__ import annotations

import json
import math

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.gate import Row, exit_code, judge, make_row, until_conclusive
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from tests.build import residual_net


def elsewhere() -> Profile:
    profile = load_profile("x86")
    return profile.model_copy(update={"device": profile.device.model_copy(update={"arch": "riscv64"})})


def measure(profile: Profile) -> Measurement:
    graph = residual_net()
    with Meter(profile) as meter:
        return meter.measure(graph, baseline=graph, max_seconds=0.0)


@pytest.fixture(scope="module")
def here() -> Measurement:
    return measure(load_profile("x86"))


@pytest.fixture(scope="module")
def proxy() -> Measurement:
    return measure(elsewhere())


def judged(measurement: Measurement, *texts: str, **others: float) -> list[Row]:
    return judge([parse_constraint(text) for text in texts], {**measurement.metrics(), **others}, measurement)


def test_absolute_limits_mean_nothing_on_another_machine(proxy: Measurement) -> None:
    assert proxy.evidence is Evidence.PROXY
    rows = judged(proxy, "latency_ms <= 1000", "latency_ratio <= 1000", "params <= 1e9", params=10.0)
    assert [(row["ok"], row["verdict"], row["evidence"]) for row in rows] == [
        (None, None, "proxy"),
        (True, "pass", "proxy"),
        (True, "pass", "analytic"),
    ]
    assert "--allow-proxy" in rows[0]["reason"]
    assert exit_code(rows) == 4


def test_what_was_sampled_beside_the_measurement_has_its_interval(here: Measurement) -> None:
    metrics = {**here.metrics(), "peak_rss_mib": 10.0}
    rows = judge(
        [parse_constraint(f"peak_rss_mib <= {bound}") for bound in (8, 11, 13)], metrics, here,
        bounds={"peak_rss_mib": Interval(low=9.0, high=12.0)},
    )  # fmt: skip
    assert [row["verdict"] for row in rows] == ["fail", "inconclusive", "pass"]
    assert rows[0]["interval"] == [9.0, 12.0]


def test_one_proxy_metric_makes_a_row_proxy(proxy: Measurement) -> None:
    (row,) = judged(proxy, "latency_ms + activation_peak_mib + params <= 1e9", params=10.0)
    assert (row["ok"], row["evidence"]) == (None, "proxy")


def test_proxy_is_judged_when_allowed_and_stays_marked(proxy: Measurement) -> None:
    rows = judge([parse_constraint("latency_ms <= 1000")], proxy.metrics(), proxy, allow_proxy=True)
    assert [(row["ok"], row["evidence"], row["reason"]) for row in rows] == [(True, "proxy", "")]


def test_the_interval_decides_and_not_the_value(here: Measurement) -> None:
    bounds = here.latency_interval_ms()
    assert bounds.low < bounds.high
    below, within, above = bounds.low / 2, (bounds.low + bounds.high) / 2, bounds.high * 2
    rows = judged(here, *(f"latency_ms <= {limit!r}" for limit in (above, within, below)))
    assert [row["verdict"] for row in rows] == ["pass", "inconclusive", "fail"]
    assert [row["ok"] for row in rows] == [True, None, False]
    assert all(row["interval"] == [bounds.low, bounds.high] for row in rows)


def test_a_row_of_several_terms_adds_their_intervals(here: Measurement) -> None:
    latency, ratio = here.latency_interval_ms(), here.ratio_interval()
    (row,) = judged(here, "2*latency_ms - 3*latency_ratio + params <= 1", params=7.0)
    assert row["interval"] == pytest.approx(
        [2 * latency.low - 3 * ratio.high + 7, 2 * latency.high - 3 * ratio.low + 7]
    )


def test_a_row_turned_around_is_judged_as_written(here: Measurement) -> None:
    rows = judged(here, "accuracy >= 0.9", "accuracy >= 0.96", accuracy=0.95)
    assert [(row["ok"], row["value"], row["max"]) for row in rows] == [(True, -0.95, -0.9), (False, -0.95, -0.96)]


def test_missing_and_unknown_numbers_never_pass(here: Measurement) -> None:
    rows = judged(here, "peak_rss_mib <= 1e9", "params <= 1e9", params=math.nan)
    assert [(row["ok"], row["value"]) for row in rows] == [(None, None), (None, None)]
    assert "peak_rss_mib was not measured" in rows[0]["reason"]
    assert exit_code(rows) == 4


def test_open_intervals_are_written_as_json_has_it() -> None:
    row = make_row("x <= 1", 0.5, 1.0, Interval(low=0.1, high=math.inf), evidence=Evidence.MEASURED)
    assert json.loads(json.dumps(row, allow_nan=False))["interval"] == [0.1, None]
    assert row["ok"] is None


@pytest.mark.parametrize(
    ("known", "code"), [((True, True), 0), ((True, None), 4), ((None, False), 1), ((False, True), 1), ((), 0)]
)
def test_a_broken_limit_outweighs_an_unknown_one(known: tuple[bool | None, ...], code: int) -> None:
    assert exit_code([{"ok": ok} for ok in known]) == code


def rows_of(*verdicts: str | None) -> list[Row]:
    return [{"verdict": verdict} for verdict in verdicts]


def test_what_is_inconclusive_is_measured_once_more_and_no_more() -> None:
    asked: list[bool] = []

    def take(thorough: bool) -> tuple[str, list[Row]]:
        asked.append(thorough)
        return f"reading {len(asked)}", rows_of("pass", "inconclusive")

    assert until_conclusive(take)[0] == "reading 2"
    assert asked == [False, True]


@pytest.mark.parametrize("verdicts", [("pass", "fail"), (None,), ()])
def test_what_is_clear_or_refused_is_not_measured_again(verdicts: tuple[str | None, ...]) -> None:
    asked: list[bool] = []

    def take(thorough: bool) -> tuple[int, list[Row]]:
        asked.append(thorough)
        return 1, rows_of(*verdicts)

    until_conclusive(take)
    assert asked == [False]
