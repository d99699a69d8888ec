"""What machine this is, without naming it: results are meant to be shared."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frames import Message

ROOT = Path("/")


def describe_machine(root: Path = ROOT) -> Message:
    """Say on what machine the samples are taken; its name is hashed.

    Args:
        root: where `proc`, `sys`, `etc` and `var` lie.
    """
    identity = read_text(root / "etc/machine-id") or platform.node()
    models = _cpu_lines(root, "model name") or _cpu_lines(root, "Model")
    cpu = models[0] if models else platform.processor()
    facts = [identity, platform.machine(), cpu, str(os.cpu_count())]
    return {
        "id": hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16],
        "arch": platform.machine(),
        "board": read_text(root / "proc/device-tree/model").strip("\0\n "),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "governor": read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        "power_mode": power_mode(root),
    }


def cpu_flags(root: Path = ROOT) -> list[str]:
    """Name the processor's features; none where the system does not tell."""
    lines = _cpu_lines(root, "flags") or _cpu_lines(root, "Features")
    return sorted(lines[0].split()) if lines else []


def power_mode(root: Path = ROOT) -> str:
    """Name the power mode of a Jetson as its own tool remembers it; empty elsewhere."""
    number = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    if number is None:
        return ""
    modes = re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", read_text(root / "etc/nvpmodel.conf"))
    names: dict[int, str] = {int(known): name for known, name in modes}
    return names.get(int(number.group(1)), str(int(number.group(1))))


def read_text(path: Path) -> str:
    """Read a file of the system; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _cpu_lines(root: Path, key: str) -> list[str]:
    pairs = (line.partition(":") for line in read_text(root / "proc/cpuinfo").splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]
