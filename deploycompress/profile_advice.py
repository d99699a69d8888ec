"""What in a valid profile is likely to disappoint: runtimes nobody ships, files too new to load, facts without source.

Versions come from ONNX Runtime's compatibility table and from pip's resolver on 2026-11-21; where neither tells,
nothing is said.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator

from deploycompress.local_machine import local_cpu_flags, same_architecture
from deploycompress.precision import Precision
from deploycompress.profile import Profile

Version = tuple[int, ...]

OLDEST_AGENT_PYTHON: Version = (3, 8)
CPU = "CPUExecutionProvider"

_VNNI = frozenset({"avx512_vnni", "avx_vnni"})

# Newest wheel of ONNX Runtime for Pythons that get no newer ones.
_LAST_WHEEL: dict[Version, Version] = {(3, 6): (1, 11), (3, 8): (1, 19, 2), (3, 10): (1, 23, 2)}

# From this ONNX Runtime on: newest opset, newest file format. Between 1.20 and 1.31 no step was verified.
_LOADS: tuple[tuple[Version, int, int], ...] = (
    ((1, 11), 16, 8),
    ((1, 12), 17, 8),
    ((1, 14), 18, 8),
    ((1, 15), 19, 8),
    ((1, 16), 19, 9),
    ((1, 17), 20, 9),
    ((1, 18), 21, 10),
    ((1, 21), 26, 13),
)


def advise(profile: Profile) -> tuple[str, ...]:
    """List what is risky in a profile, as sentences; nothing when all is well."""
    return (*_about_python(profile), *_about_files(profile), *_about_facts(profile))


def _about_python(profile: Profile) -> Iterator[str]:
    named = re.search(r"Python (\d+)\.(\d+)", profile.device.stack)
    if named is None:
        return
    python = (int(named[1]), int(named[2]))
    if python < OLDEST_AGENT_PYTHON:
        yield (
            f"the stack's Python {_text(python)} is too old for the measuring agent, which needs "
            f"{_text(OLDEST_AGENT_PYTHON)}; install a newer one on the device."
        )
    needed, last = parse_version(profile.runtime.min_onnxruntime), _LAST_WHEEL.get(python)
    if last is not None and needed > last:
        yield (
            f"min_onnxruntime is {profile.runtime.min_onnxruntime}, but {_text(last)} is the last release with a wheel "
            f"for the stack's Python {_text(python)}; lower it, or have a build of your own."
        )


def _about_files(profile: Profile) -> Iterator[str]:
    runtime = profile.runtime
    needed = parse_version(runtime.min_onnxruntime)
    rows = [row for row in _LOADS if row[0] <= needed]
    if not rows:
        return
    _, opset, ir = rows[-1]
    for key, asked, loaded in (("max_opset", runtime.max_opset, opset), ("max_ir", runtime.max_ir, ir)):
        if asked > loaded:
            yield (
                f"{key} is {asked}, but ONNX Runtime {runtime.min_onnxruntime} loads up to {loaded}; "
                f"lower {key} or raise min_onnxruntime."
            )


def _about_facts(profile: Profile) -> Iterator[str]:
    device = profile.device
    if not device.sources:
        yield "device.sources is empty; say where the facts come from."
    if profile.measure.reach != "local" and not (device.board or device.cpu_model or device.cpu_flags):
        yield (
            f"every {device.arch} machine counts as this device, so numbers from any of them are called measured; "
            "set device.board or device.cpu_model."
        )
    yield from (advice for name in profile.precision.native if (advice := about_steps(profile, Precision(name))))


def about_steps(profile: Profile, precision: Precision) -> str:
    """Say that a profile does not know the channel quantum in a precision; empty where it does."""
    if profile.channels.at(precision).is_known:
        return ""
    is_single = precision is Precision.FP32
    table, option = ("channels", "") if is_single else (f"channels.{precision}", f" --precision {precision}")
    return (
        f"{table}.quantum is 1, so widths are not snapped; find it with deploycompress profiles calibrate "
        f"PROFILE --model FILE{option}."
    )


def about_saturation(profile: Profile, precision: Precision, *, cpu_flags: Iterable[str] | None = None) -> str:
    """Warn that 8-bit products overflow 16 bits on this machine, which judges what ships; empty where they do not.

    Args:
        profile: of a device whose kind of processor this machine has.
        precision: of the run.
        cpu_flags: features of the processor; this machine's by default.
    """
    runs_here = same_architecture(profile.device.arch, "x86_64") and same_architecture(platform.machine(), "x86_64")
    is_exposed = runs_here and profile.runtime.providers[0] == CPU and not profile.precision.int8.reduced_range
    if precision is not Precision.INT8 or not is_exposed:
        return ""
    if not _VNNI.isdisjoint(local_cpu_flags() if cpu_flags is None else cpu_flags):
        return ""
    return (
        "this machine's processor shows neither avx512_vnni nor avx_vnni, without which sums of 8-bit products "
        "saturate at 16 bits and falsify outputs; set reduced_range = true in [precision.int8], which gives weights 7 "
        "bits."
    )


def parse_version(text: str) -> Version:
    """Read the numbers of a version, such as 1.19.2; what follows them is left out."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def _text(version: Version) -> str:
    return ".".join(map(str, version))
