"""Where and how samples were taken."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.evaluation import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where samples were taken.

    Attributes:
        id: hash that tells machines apart without naming them.
        arch: processor architecture.
        board: device-tree model; empty on a PC.
        cpu: processor model.
        cores: processor cores in sight.
        system: operating system and its version.
        governor: frequency governor; empty where unknown.
        power_mode: as a Jetson names it; empty elsewhere.
    """

    id: str
    arch: str
    board: str
    cpu: str
    cores: int
    system: str
    governor: str
    power_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """What the machine was like at one moment; None stands for what its system does not tell.

    Attributes:
        governor: frequency governor.
        frequency_khz: clock of the processor that measured.
        temperature_c: of the processor.
        throttled: whether the system held the clock down.
        load_average: over the last minute.
    """

    governor: str | None = None
    frequency_khz: int | None = None
    temperature_c: float | None = None
    throttled: bool | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What must be equal for two measurements to be put side by side.

    Attributes:
        machine: where the samples were taken.
        onnxruntime: version of ONNX Runtime.
        profile: name of the profile.
        profile_digest: SHA-256 of the profile's content.
        providers: execution providers of the session.
        threads: threads inside one operator.
        percentile: the percentile that the metric `latency_ms` is.
        confidence: level of the intervals.
        evidence: whether the machine is the profile's own device.
    """

    machine: Machine
    onnxruntime: str
    profile: str
    profile_digest: str
    providers: tuple[str, ...]
    threads: int
    percentile: float
    confidence: float
    evidence: Evidence
