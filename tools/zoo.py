"""Runs surgery over the whole zoo of networks and writes docs/coverage.md.

Usage: python -m tools.zoo [--rows FILE] [--peer] [NAME ...]     (from the repository root; takes about an hour)

Every network runs in a process of its own, one after the other. Rows are kept in FILE, and networks that have a row
there are not run again; names such as `torchvision/resnet18` or `timm` (all of it) choose some. `--peer` times
torch-pruning's dependency graph beside ours, where that library is installed.
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

from tools.zoo_models import SKIPPED, entries
from tools.zoo_row import BAR, Row
from tools.zoo_table import document

SECONDS_EACH = 900
COVERAGE = Path("docs/coverage.md")


def main() -> int:
    """Run what is missing, write the document, and exit 1 when a network fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rows", type=Path, default=Path("build/zoo.jsonl"))
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    rows = _read(options.rows)
    for entry in entries():
        chosen = not options.names or any(entry.name.startswith(name) for name in options.names)
        if not chosen or entry.name in rows or entry.name in SKIPPED:
            continue
        row = rows[entry.name] = _run(entry.name, peer=options.peer)
        with options.rows.open("a") as file:
            file.write(json.dumps(vars(row)) + "\n")
        print(f"{row.name}: {row.status}, difference {row.relative}", flush=True)
    known = [rows[entry.name] for entry in entries() if entry.name in rows]
    COVERAGE.write_text(document(known, SKIPPED, BAR, _machine()))
    return int(any(row.status != "ok" for row in known))


def _read(path: Path) -> dict[str, Row]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {row.name: row for row in (Row(**json.loads(line)) for line in lines)}


def _run(name: str, *, peer: bool) -> Row:
    command = [sys.executable, "-m", "tools.zoo_row", name, *(["peer"] if peer else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_EACH, check=False)
    except subprocess.TimeoutExpired:
        return Row(name=name, status=f"no result after {SECONDS_EACH} s")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Row(name=name, status=f"exit code {done.returncode}: {reason[:200]}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def _machine() -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision", "onnxruntime")
    )
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    sys.exit(main())
