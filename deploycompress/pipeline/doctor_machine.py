"""What `doctor` says of a machine's state: clock, heat, load; anything that makes numbers waver."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploycompress.measuring.conditions import MachineState
from deploycompress.pipeline.doctor_findings import Finding, Level
from deploycompress.pipeline.figures import BUSY_LOAD

UNKNOWN = "unknown"

_STEADY_GOVERNORS = frozenset({"performance", "userspace"})
_FREQUENCY_LOSS = 0.1
_TURBO_FILES = {"intel_pstate/no_turbo": "0", "cpufreq/boost": "1"}  # file: content that means on


def machine_findings(
    machine: Mapping[str, Any],  # Any: decoded JSON
    states: Sequence[MachineState],
    *,
    is_local: bool,
    root: Path = Path("/"),
) -> list[Finding]:
    """Describe a machine and what state it is in.

    Args:
        machine: what the agent says of it.
        states: before and after it measured; empty when it did not.
        is_local: whether it is this machine, of which more can be read.
        root: where `sys` lies.
    """
    findings = [_machine(machine), _governor(machine, states), _frequency(states), *_heat(states)]
    if is_local:
        findings.append(_turbo(root))
    findings.append(_load(machine, states, is_local=is_local))
    return findings


def _machine(machine: Mapping[str, Any]) -> Finding:  # Any: decoded JSON
    name = machine["board"] or machine["cpu"] or UNKNOWN
    return Finding(topic="machine", value=f"{name}, {machine['cores']} cores, {machine['arch']}, {machine['system']}")


def _governor(machine: Mapping[str, Any], states: Sequence[MachineState]) -> Finding:  # Any: decoded JSON
    governor = (states[0].governor if states else None) or machine.get("governor") or UNKNOWN
    if governor == UNKNOWN or governor in _STEADY_GOVERNORS:
        return Finding(topic="governor", value=governor)
    advice = "The clock changes while it is measured; as root: cpupower frequency-set -g performance."
    return Finding(topic="governor", value=governor, level=Level.NOTE, advice=advice)


def _frequency(states: Sequence[MachineState]) -> Finding:
    known = [state.frequency_khz / 1e6 for state in states if state.frequency_khz]
    if not known:
        return Finding(topic="frequency", value=UNKNOWN)
    value = f"{known[0]:.2f} GHz before, {known[-1]:.2f} GHz after"
    if known[-1] >= (1 - _FREQUENCY_LOSS) * known[0]:
        return Finding(topic="frequency", value=value)
    advice = "The clock fell within a fraction of a second: look at cooling and power supply."
    return Finding(topic="frequency", value=value, level=Level.NOTE, advice=advice)


def _heat(states: Sequence[MachineState]) -> Iterator[Finding]:
    temperatures = [state.temperature_c for state in states if state.temperature_c is not None]
    yield Finding(topic="temperature", value=f"{max(temperatures):.0f} C" if temperatures else UNKNOWN)
    told = [state.throttled for state in states if state.throttled is not None]
    if any(told):
        advice = "The machine slows itself down; cool it, or give it more power, before numbers mean anything."
        yield Finding(topic="throttling", value="yes", level=Level.NOTE, advice=advice)
    else:
        yield Finding(topic="throttling", value="no" if told else UNKNOWN)


def _turbo(root: Path) -> Finding:
    for name, on in _TURBO_FILES.items():
        try:
            content = (root / "sys/devices/system/cpu" / name).read_text().strip()
        except OSError:
            continue
        if content != on:
            return Finding(topic="turbo", value="off")
        advice = "The clock depends on how many cores work and how warm they are; for steadier numbers turn it off."
        return Finding(topic="turbo", value="on", level=Level.NOTE, advice=advice)
    return Finding(topic="turbo", value=UNKNOWN)


def _load(
    machine: Mapping[str, Any],  # Any: decoded JSON
    states: Sequence[MachineState],
    *,
    is_local: bool,
) -> Finding:
    load = states[0].load_average if states else os.getloadavg()[0] if is_local else None
    if load is None:
        return Finding(topic="load", value=UNKNOWN)
    value = f"{load:.2f} on {machine['cores']} cores"
    if load <= BUSY_LOAD:
        return Finding(topic="load", value=value)
    advice = "Others use the machine; numbers will waver until they are done."
    return Finding(topic="load", value=value, level=Level.NOTE, advice=advice)
