"""A machine's files in a folder, as Linux lays them out, to be changed while something reads them."""

from __future__ import annotations

from pathlib import Path

CPUS = "sys/devices/system/cpu"
THERMAL = "sys/class/thermal"


def put(root: Path, name: str, text: object) -> Path:
    """Write one file in one piece: a reader sees the old text or the new one."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_text(f"{text}\n")
    fresh.replace(path)
    return path


def put_frequency(root: Path, khz: int, cpu: int = 0) -> None:
    """Set the clock of a processor."""
    put(root, f"{CPUS}/cpu{cpu}/cpufreq/scaling_cur_freq", khz)


def put_last_processor(root: Path, cpu: int) -> None:
    """Say on which processor the process ran last."""
    fields = ["0"] * 50
    fields[36] = str(cpu)  # the 39th of /proc/PID/stat, of which two stand before
    put(root, "proc/self/stat", f"42 (a name) of ) many words) {' '.join(fields)}")
