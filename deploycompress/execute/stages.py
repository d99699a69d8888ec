"""Adds up wall time by named stage, so that a report can say where it went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class StageTimer:
    """A stopwatch with one hand per stage; stages do not nest."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds spent so far, by stage."""
        return dict(self._seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the context for a stage, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Count time that was taken elsewhere."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
