"""This machine, as its system describes it, and how such descriptions are compared with those of a profile."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

_ARCHITECTURE_SYNONYMS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def local_board() -> str:
    """Read this machine's device-tree model; empty where there is none, as on any PC."""
    return _read("/proc/device-tree/model").strip("\0\n ")


def local_cpu() -> str:
    """Read the model name of this machine's processor; empty where the system does not tell."""
    names = _cpu_lines("model name") or _cpu_lines("Model")
    return names[0] if names else platform.processor()


def local_cpu_flags() -> tuple[str, ...]:
    """Read the features of this machine's processor, in alphabetical order; empty where the system does not tell."""
    lines = _cpu_lines("flags") or _cpu_lines("Features")
    return tuple(sorted(lines[0].split())) if lines else ()


def bound_processors() -> frozenset[int]:
    """Give the numbers of the processors that this process is bound to; all of them where it is not."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Count the processors this process is bound to, and no more than its container's quota pays for."""
    bound = len(bound_processors())
    return max(1, min(bound, cores_of_quota(_read("/sys/fs/cgroup/cpu.max")) or bound))


def cores_of_quota(text: str) -> int | None:
    """Read a control group's `cpu.max`, two numbers of microseconds; none where nothing limits.

    Examples:
        >>> cores_of_quota("150000 100000"), cores_of_quota("max 100000")
        (2, None)
    """
    match text.split():
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period) > 0:
            return math.ceil(int(quota) / int(period))
    return None


def same_architecture(one: str, other: str) -> bool:
    """Say whether two names are those of one processor architecture."""
    return _architecture(one) == _architecture(other)


def holds(wanted: str, text: str) -> bool:
    """Look for the parts of a pattern one after the other; `*` stands between them."""
    place = 0
    for part in wanted.lower().split("*"):
        place = text.lower().find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def _cpu_lines(key: str) -> list[str]:
    pairs = (line.partition(":") for line in _read("/proc/cpuinfo").splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _architecture(name: str) -> str:
    return _ARCHITECTURE_SYNONYMS.get(name.lower(), name.lower())
