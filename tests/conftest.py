"""Tests that run side by side have a processor each, so that they do not disturb what the others measure."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    """Bind a worker of pytest-xdist, before torch counts processors."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[int(worker.removeprefix("gw")) % len(mine)]})
