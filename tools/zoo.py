"""Runs surgery over the whole zoo of networks and writes docs/coverage.md.

Usage: python -m tools.zoo [--rows FOLDER] [--peer] [NAME ...]     (from the repository root; takes about an hour)

Every network runs in a process of its own, one after the other. Rows are kept in FOLDER, and networks that have a row
there are not run again; names such as `torchvision/resnet18`, `timm` (all of it) or `blocks/resnet18` choose some.
`--peer` times torch-pruning's dependency graph beside ours, where that library is installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.zoo_blocks import FAMILIES, BlockRow
from tools.zoo_models import SKIPPED, entries
from tools.zoo_row import BAR, Row
from tools.zoo_table import document

SECONDS_EACH = 900
COVERAGE = Path("docs/coverage.md")


def main() -> int:
    """Run what is missing, write the document, and exit 1 when a network fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rows", type=Path, default=Path("build/zoo"))
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    options.rows.mkdir(parents=True, exist_ok=True)
    networks = [entry.name for entry in entries() if entry.name not in SKIPPED]
    for name in _chosen(networks, options.names, options.rows):
        found, failure = _run("tools.zoo_row", name, *(["peer"] if options.peer else []))
        _keep(options.rows, name, found or vars(Row(name=name, status=failure)))
    for name in _chosen([f"blocks/{family}" for family in FAMILIES], options.names, options.rows):
        found, failure = _run("tools.zoo_blocks", name.removeprefix("blocks/"))
        row = BlockRow(name=name, offered={}, ran=0, worst={}, find_s=0.0, failures=[failure])
        _keep(options.rows, name, found or vars(row))
    rows = [Row(**found) for name in networks if (found := _kept(options.rows, name))]
    removals = [BlockRow(**found) for family in FAMILIES if (found := _kept(options.rows, f"blocks/{family}"))]
    COVERAGE.write_text(document(rows, removals, SKIPPED, BAR, _machine()))
    return int(any(row.status != "ok" for row in rows) or any(row.failures for row in removals))


def _chosen(names: list[str], wanted: list[str], folder: Path) -> list[str]:
    matching = [name for name in names if not wanted or any(name.startswith(start) for start in wanted)]
    return [name for name in matching if _kept(folder, name) is None]


def _place(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '-')}.json"


def _kept(folder: Path, name: str) -> dict[str, Any] | None:  # Any: the fields of a row
    place = _place(folder, name)
    return json.loads(place.read_text()) if place.exists() else None


def _keep(folder: Path, name: str, found: dict[str, Any]) -> None:
    _place(folder, name).write_text(json.dumps(found))
    outcome = found.get("status") or f"{found['ran']} blocks removed, failures: {found['failures']}"
    print(f"{name}: {outcome}", flush=True)


def _run(module: str, name: str, *options: str) -> tuple[dict[str, Any] | None, str]:
    """Run one network in a process of its own; give its row, or why there is none."""
    command = [sys.executable, "-m", module, name, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_EACH, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no result after {SECONDS_EACH} s"
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return None, f"exit code {done.returncode}: {reason[:200]}"
    return json.loads(done.stdout.splitlines()[-1]), ""


def _machine() -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "onnxruntime")
    )
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    sys.exit(main())
