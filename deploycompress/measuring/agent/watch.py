"""Watches the machine while it measures, and says which rounds its clock has spoilt."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import State, StateReader

LEAST_SHARE = 0.9  # of the usual clock; below that a round is slow for no fault of the model
_FIRST_READINGS = 5  # the usual clock until rounds were quiet: one of them alone may be a short turbo, or idle
_INTERVAL_SECONDS = 0.05  # reading the state takes time, too


class Watch:
    """Compares the machine's state after some rounds with what it was before them.

    The usual clock is the middle one of the first readings, whatever they are, and of those after quiet rounds.

    Args:
        reader: reads the state.
        interval_seconds: how often.
    """

    def __init__(self, reader: StateReader, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        self._reader = reader
        self._interval = interval_seconds
        self.first = self.last = reader.read()
        self._looked_at = time.monotonic()
        self._usual = [] if self.last.frequency_khz is None else [self.last.frequency_khz]

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic() - self._looked_at >= self._interval

    def was_quiet(self) -> bool:
        """Look again: whether nothing held the clock down since the last look, nor holds it down now.

        What the system tells of times before the last look does not count.
        """
        before, now = self.last, self._reader.read()
        self.last, self._looked_at = now, time.monotonic()
        quiet = now.marks == before.marks and not now.throttled and not self._is_slow(now)
        if now.frequency_khz is not None and (quiet or len(self._usual) < _FIRST_READINGS):
            self._usual.append(now.frequency_khz)
        return quiet

    def _is_slow(self, state: State) -> bool:
        if state.frequency_khz is None or not self._usual:
            return False
        return state.frequency_khz < LEAST_SHARE * statistics.median(self._usual)
