"""The document of `bench` as tables and as CSV; models are columns, for their names are longer than their numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, TextIO

from deploycompress.report.text_table import MISSING, TextTable, interval, number, print_table

Document = Mapping[str, Any]  # Any: parsed JSON

MIB = 2**20
NODES_SHOWN = 20

CSV_COLUMNS = (
    "model", "profile", "evidence", "machine", "onnxruntime", "percentile", "median_ms", "median_low_ms",
    "median_high_ms", "latency_ms", "latency_low_ms", "latency_high_ms", "throughput_per_s", "ratio", "ratio_low",
    "ratio_high", "load_ms", "first_run_ms", "activation_peak_bytes", "activation_evidence", "peak_rss_bytes",
    "weights_bytes", "file_bytes", "samples", "starts", "redone_rounds", "sha256",
)  # fmt: skip

CSV_MARK = ",".join(CSV_COLUMNS)
"""The first line of every file this writes."""


def print_bench(document: Document, stream: TextIO) -> None:
    """Write a document as tables: by rich on a terminal, plain elsewhere.

    Args:
        document: what `bench` made.
        stream: where to write.
    """
    machine = document["machine"]
    stream.write(
        f"Profile {document['profile']} ({document['evidence']}) on {machine['cpu'] or machine['arch']}, ONNX Runtime "
        f"{machine['onnxruntime']}, {document['threads']} thread{'s' * (document['threads'] != 1)}; intervals at "
        f"{100 * document['confidence']:g} %\n"
    )
    if _states(document):
        stream.write(f"Machine while measuring: {_states(document)}\n")
    print_table(bench_table(document), stream)
    for model in document["models"]:
        if model["nodes"]:
            stream.write(f"\n{_nodes_title(model)}\n")
            print_table(_nodes_table(model["nodes"]), stream)
    for remark in document["remarks"]:
        stream.write(f"note: {remark}\n")


def bench_table(document: Document) -> TextTable:
    """Lay out the figures, a model a column."""
    models = document["models"]
    percentile = f"p{document['percentile']:g}"
    rows = [
        ("median, ms", [number(model["median_ms"]) for model in models]),
        ("  interval", [interval(model["median_interval_ms"]) for model in models]),
        (f"{percentile}, ms", [number(model["latency_ms"]) for model in models]),
        ("  interval", [interval(model["latency_interval_ms"]) for model in models]),
        ("per second", [number(model["throughput_per_s"]) for model in models]),
        ("ratio to the first", [MISSING if model["ratio"] is None else f"{model['ratio']:.4f}" for model in models]),
        ("  interval", [interval(model["ratio_interval"]) for model in models]),
        ("load, ms", [number(model["load_ms"], digits=3) for model in models]),
        ("first run, ms", [number(model["first_run_ms"], digits=3) for model in models]),
        ("activation peak, MiB", [_activation_peak(model, document["evidence"]) for model in models]),
        ("peak memory, MiB", [_mebibytes(model["peak_rss_bytes"]) for model in models]),
        ("file, MiB", [_mebibytes(model["file_bytes"]) for model in models]),
        ("samples in starts", [f"{model['samples']} in {model['starts']}" for model in models]),
    ]
    return TextTable(
        head=("", *(model["name"] for model in models)),
        rows=[(name, *cells) for name, cells in rows],
        right=tuple(range(1, len(models) + 1)),
    )


def bench_csv(document: Document) -> str:
    """Write a document as CSV, a model a line, empty where nothing is known."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for model in document["models"]:
        known = {
            **{key: value for key, value in model.items() if key in CSV_COLUMNS},
            "model": model["name"],
            "profile": document["profile"],
            "evidence": document["evidence"],
            "machine": document["machine"]["id"],
            "onnxruntime": document["machine"]["onnxruntime"],
            "percentile": document["percentile"],
            **_ends("median_{}_ms", model["median_interval_ms"]),
            **_ends("latency_{}_ms", model["latency_interval_ms"]),
            **_ends("ratio_{}", model["ratio_interval"]),
        }
        writer.writerow([_cell(known[name]) for name in CSV_COLUMNS])
    return lines.getvalue()


def _cell(value: object) -> object:
    """Keep spreadsheets from taking a model's name for a formula."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


def _ends(name: str, bounds: tuple[float | None, float | None] | None) -> dict[str, float | None]:
    low, high = bounds or (None, None)
    return {name.format("low"): low, name.format("high"): high}


def _states(document: Document) -> str:
    """Sum up what the system told of itself before and after sampling; empty when it told nothing."""
    parts = []
    for key, scale, unit in (("frequency_khz", 1e6, "GHz"), ("temperature_c", 1, "°C"), ("load_average", 1, "load")):
        told = [state[key] / scale for state in document["states"] if state[key] is not None]
        if told:
            parts.append(f"{min(told):.3g} to {max(told):.3g} {unit}")
    governors = sorted({state["governor"] for state in document["states"] if state["governor"]})
    return ", ".join([*parts, *(f"governor {name}" for name in governors)])


def _nodes_title(model: Document) -> str:
    nodes = model["nodes"]
    left_out = len(nodes["times"]) - NODES_SHOWN
    more = f", the slowest {NODES_SHOWN} of {len(nodes['times'])}" if left_out > 0 else ""
    other = 100 * sum(nodes["other"].values())
    return (
        f"{model['name']} by node{more}: medians of {nodes['runs']} profiled runs, {number(nodes['kernels_ms'])} ms in "
        f"all; {other:.1f} % belong to no node of the model"
    )


def _nodes_table(nodes: Document) -> TextTable:
    slowest = sorted(nodes["times"], key=lambda node: -node["ms"])[:NODES_SHOWN]
    return TextTable(
        head=("node", "operator", "ms", "share"),
        rows=[(node["name"], node["op"], number(node["ms"]), f"{100 * node['share']:.1f} %") for node in slowest],
        right=(2, 3),
    )


def _activation_peak(model: Document, evidence: str) -> str:
    """Show the peak, and how it came to be where that is not how the latency did."""
    own = model["activation_evidence"]
    return _mebibytes(model["activation_peak_bytes"]) + (f" ({own})" if own != evidence else "")


def _mebibytes(value: float | None) -> str:
    return MISSING if value is None else f"{value / MIB:.2f}"
