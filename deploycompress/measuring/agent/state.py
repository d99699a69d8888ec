"""The machine's state: clock, temperature, throttling, load. It only reads; what a system does not tell is None."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from .machine import ROOT, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from .frames import Message

_THROTTLED_NOW = 0xF  # of vcgencmd: voltage too low, clock capped, throttled, soft limit of temperature
_PROGRAM_SECONDS = 0.5  # starting a program costs time that rounds should have
_PROGRAM_TIMEOUT = 2.0
_PLAUSIBLE_C = (-40.0, 150.0)
_PROCESSOR_ZONE = re.compile(r"cpu|pkg|soc", re.IGNORECASE)
_PROCESSOR_FIELD = 38  # of /proc/PID/stat: which processor it ran on last; the first field counts zero


class State(NamedTuple):
    """One reading.

    Attributes:
        governor: frequency governor.
        frequency_khz: clock of the processor this process ran on last.
        temperature_c: of the hottest zone that belongs to the processor; of any zone where none is named so.
        throttled: whether the system holds the clock down now.
        load_average: over the last minute.
        marks: whatever changes when the machine begins or ends to throttle, or did in between.
    """

    governor: str | None
    frequency_khz: int | None
    temperature_c: float | None
    throttled: bool | None
    load_average: float | None
    marks: tuple[int, ...]

    def as_message(self) -> Message:
        """Give what the host is told."""
        return {name: value for name, value in self._asdict().items() if name != "marks"}


class StateReader:
    """Reads the machine's state again and again.

    Args:
        root: where `proc` and `sys` lie.
        search_path: folders, separated as in PATH, in which to look for `vcgencmd`; None for PATH.
    """

    def __init__(self, root: Path = ROOT, search_path: str | None = None) -> None:
        self._root = root
        self._cpus = root / "sys/devices/system/cpu"
        self._counters = sorted(self._cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
        thermal = root / "sys/class/thermal"
        zones = [(read_text(zone / "type"), zone / "temp") for zone in sorted(thermal.glob("thermal_zone*"))]
        processor_zones = [path for kind, path in zones if _PROCESSOR_ZONE.search(kind)]
        self._zones = processor_zones or [path for _, path in zones]
        self._coolers = [
            cooler / "cur_state"
            for cooler in sorted(thermal.glob("cooling_device*"))
            if "cpu" in read_text(cooler / "type").lower()
        ]
        self._program = shutil.which("vcgencmd", path=search_path)
        self._bits: int | None = None
        self._bits_read_at = float("-inf")

    def read(self) -> State:
        """Read everything now, what a program has to be asked for at most twice a second."""
        frequency = self._cpus / f"cpu{self._processor()}" / "cpufreq"
        counts = [_whole(path) or 0 for path in self._counters]
        coolers = [_whole(path) or 0 for path in self._coolers]
        bits = self._throttled_bits()
        known = counts or coolers or bits is not None
        load = read_text(self._root / "proc/loadavg").split()
        return State(
            governor=read_text(frequency / "scaling_governor").strip() or None,
            frequency_khz=_whole(frequency / "scaling_cur_freq"),
            temperature_c=self._temperature(),
            throttled=bool(any(coolers) or (bits or 0) & _THROTTLED_NOW) if known else None,
            load_average=float(load[0]) if load else None,
            marks=(*counts, *coolers, bits or 0),
        )

    def _processor(self) -> int:
        # The second field is the program's name in parentheses, which may hold blanks.
        fields = read_text(self._root / "proc/self/stat").rpartition(")")[2].split()
        position = _PROCESSOR_FIELD - 2
        return int(fields[position]) if len(fields) > position and fields[position].isdigit() else 0

    def _temperature(self) -> float | None:
        degrees = [millidegrees / 1000 for millidegrees in map(_whole, self._zones) if millidegrees is not None]
        plausible = [degree for degree in degrees if _PLAUSIBLE_C[0] < degree < _PLAUSIBLE_C[1]]
        return max(plausible) if plausible else None

    def _throttled_bits(self) -> int | None:
        if self._program is None or time.monotonic() - self._bits_read_at < _PROGRAM_SECONDS:
            return self._bits
        self._bits_read_at = time.monotonic()
        try:
            done = subprocess.run(  # noqa: S603 - a fixed request to a program that the system brings along
                [self._program, "get_throttled"], stdout=subprocess.PIPE, timeout=_PROGRAM_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            self._program = None
            return self._bits
        told = re.search(rb"throttled=(0x[0-9a-fA-F]+)", done.stdout)
        self._bits = int(told.group(1), 16) if told else None
        return self._bits


def _whole(path: Path) -> int | None:
    text = read_text(path).strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else None
