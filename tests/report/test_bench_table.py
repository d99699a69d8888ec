"""The tables of `bench` and its CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from deploycompress.report.bench_table import CSV_MARK, bench_csv, bench_table, print_bench
from deploycompress.report.text_table import plain


def model(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "sha256": "ab" * 32,
        "median_ms": 2.0,
        "median_interval_ms": [1.9, 2.25],
        "latency_ms": 2.5,
        "latency_interval_ms": [2.4, None],
        "throughput_per_s": 500.0,
        "ratio": None,
        "ratio_interval": None,
        "load_ms": 12.0,
        "first_run_ms": 3.0,
        "activation_peak_bytes": 2**20,
        "activation_evidence": "measured",
        "peak_rss_bytes": None,
        "weights_bytes": 100,
        "file_bytes": 3 * 2**19,
        "samples": 640,
        "starts": 6,
        "settled": True,
        "redone_rounds": 0,
        "placement": {},
        "nodes": None,
        **changes,
    }


UNKNOWN = dict.fromkeys(("governor", "frequency_khz", "temperature_c", "throttled", "load_average"))

DOCUMENT = {
    "schema": 1,
    "profile": "x86",
    "machine": {"id": "0123", "cpu": "A processor", "arch": "x86_64", "onnxruntime": "1.31.1"},
    "threads": 1,
    "percentile": 90.0,
    "confidence": 0.95,
    "evidence": "proxy",
    "states": [
        {**UNKNOWN, "governor": "schedutil", "frequency_khz": 1_500_000, "temperature_c": 60.0},
        {**UNKNOWN, "governor": "schedutil", "frequency_khz": 2_400_000},
    ],
    "remarks": ["the machine throttled while it measured"],
    "models": [
        model("slow.onnx"),
        model("=fast.onnx", ratio=0.5, ratio_interval=[0.4, 0.625], activation_evidence="proxy"),
    ],
}


def cells(name: str) -> tuple[str, ...]:
    return tuple(next(row for row in bench_table(DOCUMENT).rows if row[0] == name)[1:])


def test_figures_stand_in_their_rows() -> None:
    assert cells("median, ms") == ("2", "2")
    assert cells("p90, ms") == ("2.5", "2.5")
    assert cells("ratio to the first") == ("-", "0.5000")
    assert cells("activation peak, MiB") == ("1.00 (measured)", "1.00")
    assert cells("peak memory, MiB") == ("-", "-")
    assert cells("file, MiB") == ("1.50", "1.50")
    intervals = [row[1:] for row in bench_table(DOCUMENT).rows if row[0].strip() == "interval"]
    assert intervals[0] == ("1.9 to 2.25", "1.9 to 2.25")
    assert intervals[1] == ("2.4 to ?", "2.4 to ?")
    assert intervals[2] == ("-", "0.4 to 0.625")


def test_lines_of_a_plain_table_end_together() -> None:
    lines = plain(bench_table(DOCUMENT)).splitlines()
    assert {len(line) for line in lines} == {max(map(len, lines))}


def test_page_says_where_and_what_disturbed() -> None:
    page = io.StringIO()
    print_bench(DOCUMENT, page)
    text = page.getvalue()
    assert text.startswith("Profile x86 (proxy) on A processor, ONNX Runtime 1.31.1, 1 thread; intervals at 95 %\n")
    assert "Machine while measuring: 1.5 to 2.4 GHz, 60 to 60 °C, governor schedutil\n" in text
    assert "note: the machine throttled while it measured\n" in text


def test_slowest_nodes_come_first() -> None:
    times = [{"name": f"n{index}", "op": "Conv", "ms": float(index), "share": index / 300} for index in range(25)]
    nodes = {"runs": 11, "kernels_ms": 300.0, "times": times, "other": {"Reorder": 0.25}}
    page = io.StringIO()
    print_bench({**DOCUMENT, "models": [model("m.onnx", nodes=nodes)]}, page)
    shown = [line.split()[0] for line in page.getvalue().splitlines() if line.startswith("n") and "Conv" in line]
    assert shown == [f"n{index}" for index in range(24, 4, -1)]
    assert "the slowest 20 of 25" in page.getvalue()
    assert "25.0 % belong to no node" in page.getvalue()


def test_csv_reads_back_and_holds_no_formula() -> None:
    text = bench_csv(DOCUMENT)
    assert text.startswith(CSV_MARK + "\n")
    slow, fast = csv.DictReader(io.StringIO(text))
    assert (slow["model"], fast["model"]) == ("slow.onnx", "'=fast.onnx")
    assert (slow["ratio"], slow["ratio_low"], fast["ratio"]) == ("", "", "0.5")
    assert (fast["ratio_low"], fast["ratio_high"], fast["latency_high_ms"]) == ("0.4", "0.625", "")
    assert [(one["evidence"], one["activation_evidence"]) for one in (slow, fast)] == [
        ("proxy", "measured"),
        ("proxy", "proxy"),
    ]
    assert (slow["machine"], slow["percentile"], slow["peak_rss_bytes"]) == ("0123", "90.0", "")
