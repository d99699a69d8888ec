"""Measures all competitors in one interleaved run beside the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter, trusted_starts
from deploycompress.profile_files import load_profile
from tools.compare_peers_bench import commit
from tools.compare_peers_records import Latencies, Latency

SECONDS_EACH = 10.0


def measure_all(baseline: Graph, shipped: Mapping[str, Graph], *, seconds_each: float = SECONDS_EACH) -> Latencies:
    """Let all networks take turns in several fresh processes; networks of equal structure are measured once.

    Args:
        baseline: the teacher as it would ship.
        shipped: the competitors likewise, by name.
        seconds_each: of measuring, for each network.
    """
    distinct = {structure_digest(graph): graph for graph in shipped.values()}
    profile = load_profile("x86")
    with Meter(profile) as meter:
        teacher, *others = meter.measure_together(
            [baseline, *distinct.values()],
            max_seconds=seconds_each * (len(distinct) + 1),
            starts=trusted_starts(profile),
        )
    found = {}
    for digest, one in zip(distinct, others, strict=True):
        interval = one.ratio_interval()
        found[digest] = Latency(median_ms=one.median_ms, ratio=one.ratio, low=interval.low, high=interval.high)
    conditions = teacher.conditions
    return Latencies(
        teacher_ms=teacher.median_ms,
        of=found,
        machine=conditions.machine.cpu,
        onnxruntime=conditions.onnxruntime,
        threads=conditions.threads,
        starts=len(teacher.starts),
        samples=len(teacher.samples_ns),
        confidence=conditions.confidence,
        settled=teacher.settled,
        taken=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=commit(),
    )
