"""Lays whole runs in a lower precision out as a table: `python -m tools.precision_results docs/runs/*_int8-*.json`.

Every figure is read from the runs' own result.json, copied there as NETWORK_PRECISION-LIMIT.json. With `--page` the
table goes into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.marked_page import filled

TOOL = "tools/precision_results.py"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
HEAD = (
    "| network | limit | ships | teacher fp32 | teacher {name} alone | student fp32 | **student {name}** | minutes | "
    "images seen |"
)

Document = Mapping[str, Any]  # Any: parsed JSON


def main() -> int:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, help="result.json of each, named NETWORK_PRECISION-LIMIT.json")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    text = table([(run.name.partition("_")[0], json.loads(run.read_text(encoding="utf-8"))) for run in options.runs])
    if options.page:
        PAGE.write_text(filled(PAGE.read_text(), {"runs": text}, tool=TOOL))
    else:
        print(text)
    return 0


def table(runs: list[tuple[str, Document]]) -> str:
    """Make a Markdown table with a row for each run."""
    head = HEAD.format(name="lower")
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *(row(name, document) for name, document in runs)])


def row(name: str, document: Document) -> str:
    """Lay out a run: score and latency ratio to the teacher in single precision, of four networks."""
    precision = document["precision"]
    cells = {(one["network"], one["precision"] == "fp32"): _cell(one) for one in precision["table"]}
    columns = [
        cells.get((network, is_single), "-") for network in ("teacher", "student") for is_single in (True, False)
    ]
    limits = ", ".join(one["expression"] for one in document["constraints"])
    trained = [document["training"], precision["training"] or {"images_seen": 0}]
    images = sum(part["images_seen"] for part in trained)
    return (
        f"| {name} | {limits} | {precision['name']} | {' | '.join(columns[:3])} | **{columns[3]}** | "
        f"{sum(document['search']['seconds_by_stage'].values()) / 60:.0f} | {images:,} |"
    )


def _cell(one: Document) -> str:
    low, high = one["latency_ratio_interval"]
    spread = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{100 * one['score']:.2f} % at {one['latency_ratio']:.3f}{spread}"


if __name__ == "__main__":
    raise SystemExit(main())
