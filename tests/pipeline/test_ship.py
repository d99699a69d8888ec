"""What ships is judged by what its numbers mean."""

from __future__ import annotations

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evidence
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.ship import judge
from deploycompress.profile import load_profile
from tests.build import residual_net


def test_absolute_limits_mean_nothing_on_another_machine() -> None:
    profile = load_profile("x86")
    elsewhere = profile.model_copy(update={"device": profile.device.model_copy(update={"arch": "riscv64"})})
    graph = residual_net()
    with Meter(elsewhere) as meter:
        measurement = meter.measure(graph, baseline=graph, max_seconds=0.0)
    assert measurement.evidence is Evidence.PROXY
    rows = [parse_constraint(text) for text in ("latency_ms <= 1000", "latency_ratio <= 1000", "params <= 1e9")]
    judged = judge(rows, {**measurement.metrics(), "params": 10.0}, measurement)
    assert [(row["ok"], row["evidence"]) for row in judged] == [
        (None, "proxy"),
        (True, "proxy"),
        (True, "analytic"),
    ]
