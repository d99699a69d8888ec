"""The tables of staircases say what was measured, and the page holds what the tool makes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploycompress.calibration.findings import Staircase
from deploycompress.calibration.quantum import QuantumFinding, Rise, WidthTime
from deploycompress.calibration.staircase import WIDTHS, Sweep, staircase_network
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.precision import Precision
from deploycompress.profile_files import load_profile
from tools.marked_page import filled
from tools.staircases import PAGE, TOOL, Found, latency_table, measure, pooled, quantum_table, spread, sweeps, title

WHOLE, INPUT, *_ = sweeps()


@pytest.fixture(scope="module")
def meter() -> Iterator[Meter]:
    with Meter(load_profile("x86")) as meter:
        yield meter


def found(sweep: Sweep, precision: Precision, factor: float, quantum: int | None) -> Found:
    """Plant a staircase in which a channel takes a fixed time."""
    times = tuple(
        WidthTime(width=width, ms=factor * width, low_ms=factor * width, high_ms=factor * width)
        for width in sweep.widths
    )
    finding = QuantumFinding(quantum=quantum, rises=(Rise(step=4, value=0.9, low=0.8, high=1.0),))
    staircase = Staircase(sweep=sweep, share=1.0, times=times, finding=finding)
    return Found(precision=precision, staircase=staircase, spreads=(0.01,) * (len(times) - 1) + (0.08,))


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


PLANTED = [
    found(WHOLE, Precision.FP32, 0.01, 16),
    found(WHOLE, Precision.INT8, 0.004, None),
    found(INPUT, Precision.FP32, 0.02, 1),
    found(INPUT, Precision.INT8, 0.03, 4),
]


def test_latencies_stand_beside_their_width() -> None:
    head, _, *body, last = rows(latency_table(PLANTED))
    assert head == ["channels", "3x3 @28 fp32", "3x3 @28 int8"]  # a side alone has a table of quanta only
    assert [[int(row[0]), float(row[1]), float(row[2])] for row in body] == [
        [width, pytest.approx(0.01 * width), pytest.approx(0.004 * width)] for width in WIDTHS
    ]
    assert last[1:] == ["1.0%, 8.0%"] * 2


def test_each_staircase_tells_its_quantum_and_what_the_lower_precision_saves() -> None:
    head, _, *body = rows(quantum_table(PLANTED))
    told = [dict(zip(head, row, strict=True)) for row in body]
    assert [(row["widths that change"], row["fp32"], row["int8"]) for row in told] == [
        ("both", "16", "4 or more"),
        ("input", "smooth", "4"),
    ]
    assert {row["int8/fp32 at 16"] for row in told} == {"0.40", "1.50"}


def test_both_precisions_are_measured_in_turns_in_several_processes(meter: Meter) -> None:
    sweep = replace(WHOLE, widths=(16, 128), size=(14, 14))
    precisions = (Precision.FP32, Precision.INT8)
    (single, eight), conditions = measure(meter, sweep, precisions, seconds=0.1, starts=2)
    assert conditions.profile == "x86"
    assert (single.precision, eight.precision) == precisions
    for one in (single, eight):
        narrow, wide = one.staircase.times
        assert (narrow.width, wide.width) == (16, 128)
        assert wide.ms > narrow.ms
        assert all(value >= 0 for value in one.spreads)


def test_the_spread_is_that_between_processes(meter: Meter) -> None:
    network = staircase_network(replace(WHOLE, widths=(16,), size=(7, 7)), 16, meter.profile.runtime)
    parts: list[Measurement] = []
    for _ in range(2):
        meter.close()
        parts.append(meter.measure(network, max_seconds=0.0))
    both = pooled(parts)
    assert both.samples_ns == (*parts[0].samples_ns, *parts[1].samples_ns)
    tenths = []
    for part in parts:
        ordered = sorted(part.samples_ns)
        tenths.append(ordered[-(-len(ordered) // 10) - 1])
    assert spread(both) == pytest.approx(abs(tenths[0] - tenths[1]) / statistics.median(tenths))
    assert spread(parts[0]) == 0


def test_the_page_holds_the_parts_that_the_tool_makes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    marks = re.findall(rf"<!-- made by {re.escape(TOOL)}: ([\w-]+) -->", page)
    assert marks == ["settings", "latency", "quantum"]
    again = filled(page, {name: f"new {name}" for name in marks}, tool=TOOL)
    assert all(f"new {name}" in again for name in marks)
    told = {(row[0], row[1]) for row in rows(page) if len(row) > 5}
    assert {(title(sweep), str(sweep.side)) for sweep in sweeps()} <= told
