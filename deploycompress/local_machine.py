"""This machine, as its system describes it, and how such descriptions are compared with those of a profile."""

from __future__ import annotations

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
