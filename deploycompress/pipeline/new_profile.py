"""A new profile, as a file to edit: from a template or from another profile, with this machine's facts filled in."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import tomlkit
from tomlkit.items import Table

from deploycompress.errors import OutputError, UsageError
from deploycompress.local_machine import bound_processors, local_board, local_cpu
from deploycompress.profile_files import find_profile, load_profile

TEMPLATE = """# What this device is, and what is known of it: write down where each fact comes from.
schema = 1

[device]
title = "my device"
arch = "aarch64"            # as `uname -m` prints it
# A machine is this device, and numbers taken on it are called measured, when these agree.
board = ""                  # text in /proc/device-tree/model, `*` for any text between
cpu_model = ""              # text in the model name of /proc/cpuinfo
cpu = ""
accelerator = ""
stack = ""                  # system, drivers and Python
sources = []

[runtime]
providers = ["CPUExecutionProvider"]   # preferred first
threads = 1
graph_optimization = "all"
max_opset = 17              # loads from ONNX Runtime 1.12 on
max_ir = 8
min_onnxruntime = "1.19"

[measure]
reach = "local"             # or "ssh" or "exec", with a --target beside the profile
warmup_seconds = 0.5
percentile = 90.0
confidence = 0.95
precision = 0.01
min_samples = 64
max_seconds = 120.0

[precision]
default = "fp32"            # what ships where --precision does not say: fp32, fp16, int8 or auto
native = ["fp32"]           # what the device computes in by itself; a processor with 8-bit products has "int8", too

[channels]
quantum = 1                 # not known yet: deploycompress profiles calibrate

[[constraint]]
latency_ratio = 1.0
max = 0.5
"""

# What is true of the base's own device, and unknown of this machine.
_OF_THE_BASE = (
    "not_board", "cpu_flags", "accelerator", "peak_gflops_fp32", "memory_bandwidth_gbs", "power_watts", "power_mode",
)  # fmt: skip

_NAME = re.compile(r"\w[\w.-]*")
_SCHEMA_LINE = re.compile(r"#:schema [^\n]*\n")
_HEADER = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)+")  # comments and empty lines before the first key


def destination_of(name_or_path: str) -> Path:
    """Say where a new profile is written: a name goes into `./profiles`, where it is found by that name.

    Raises:
        UsageError: the text is neither a name nor the path of a `.toml` file.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    if path.name == name_or_path and _NAME.fullmatch(name_or_path):
        return Path("profiles") / f"{name_or_path}.toml"
    raise UsageError(
        f"{name_or_path!r} is no name for a profile; give letters, digits, - and _, or a path to a .toml file."
    )


def new_profile(*, base: str | None = None, here: bool = False) -> str:
    """Compose the text of a new profile, comments included.

    Args:
        base: the profile to start from, a name or a path; None for a template.
        here: fill in what this machine tells of itself.

    Raises:
        ProfileError: the base cannot be found, or is no profile.
    """
    text = TEMPLATE if base is None else _text_of(base, here=here)
    document = tomlkit.parse(text)
    if here:
        _fill_in(document)
    return tomlkit.dumps(document)


def _text_of(base: str, *, here: bool) -> str:
    name = load_profile(base).name  # a file that is no profile is refused
    text = _SCHEMA_LINE.sub("", find_profile(base).read_text(encoding="utf-8"), count=1)
    if not here:
        return text
    head = f"# This machine, from profile {name}: its providers and channel quanta were not tried here.\n"
    return head + _HEADER.sub("", text, count=1)  # the base's own says what another device is


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        OutputError: it is there already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise OutputError(f"{path} is there already and is not overwritten; choose another name.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def _fill_in(document: tomlkit.TOMLDocument) -> None:
    device, runtime = document["device"], document["runtime"]
    measure = document.setdefault("measure", tomlkit.table())
    cores, cpu, board = _physical_cores(), local_cpu(), local_board()
    if not (isinstance(device, Table) and isinstance(runtime, Table) and isinstance(measure, Table)):
        return  # written inline; a person made it so and a person may fill it in
    facts: dict[str, str | int] = {
        "title": board or cpu or platform.machine(),
        "arch": platform.machine(),
        "board": board,
        "cpu_model": cpu,
        "cpu": f"{cores}x {cpu}",
        "ram_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "stack": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }
    for key, value in facts.items():
        _set(device, key, value)
    _set(runtime, "threads", cores)
    measure["reach"] = "local"
    device["sources"] = [*device.get("sources", ()), "this machine itself"]
    for key in _OF_THE_BASE:
        if device.get(key):
            device.pop(key)


def _set(table: Table, key: str, value: str | int) -> None:
    item = tomlkit.item(value)
    item.comment("read on this machine")
    table[key] = item


def _physical_cores() -> int:
    """Count the cores that this process may use; threads of one core count once."""
    return max(len({_siblings(number) for number in bound_processors()}), 1)


def _siblings(processor: int) -> str:
    place = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return place.read_text()
    except OSError:
        return str(processor)
