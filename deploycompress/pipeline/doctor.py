"""Would measuring work, and would its numbers mean something? Asks the agent, and measures a small network with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from deploycompress.errors import DeployCompressError, MeasureError
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.target import Target, TargetKind
from deploycompress.measuring.reach.words import shown
from deploycompress.pipeline.doctor_findings import Diagnosis, Finding, Level
from deploycompress.pipeline.doctor_host import diagnose_host
from deploycompress.pipeline.doctor_machine import machine_findings
from deploycompress.profile import Profile
from deploycompress.profile_advice import parse_version

About = Mapping[str, Any]  # Any: decoded JSON

_BUSY_SECONDS = 10.0
_PROBE_SECONDS = 0.3
_PROBE_SAMPLES = 64
_PROBE_OPSET, _PROBE_IR = 13, 7  # old enough for every runtime that a profile can name


def diagnose(targets: Sequence[Target], profile: Profile | None = None) -> dict[str, Any]:  # Any: JSON
    """Look at the program's own surroundings and at each target.

    Args:
        targets: where to measure.
        profile: the device it is measured for.

    Returns:
        `schema`, `profile`, `would_measure`, and for each of `places` its `findings` and `evidence`.
    """
    needs_ssh = any(target.kind is TargetKind.SSH for target in targets)
    places = [diagnose_host(needs_ssh=needs_ssh), *(diagnose_target(target, profile) for target in targets)]
    return {
        "schema": 1,
        "profile": profile.name if profile else None,
        "would_measure": all(place.is_well for place in places),
        "places": [place.to_document() for place in places],
    }


def diagnose_target(target: Target, profile: Profile | None = None) -> Diagnosis:
    """Find out whether measuring would work at a place.

    Args:
        target: where to measure.
        profile: the device it is measured for; None to ask for no more than ONNX Runtime's processor provider.
    """
    try:
        process = MeasuringProcess(target, busy_seconds=_BUSY_SECONDS)
    except MeasureError as error:
        return Diagnosis(place=target.text, findings=(_failure("agent", error),))
    about = process.about
    process.close()
    findings = [Finding(topic="agent", value=f"answers, Python {shown(str(about.get('python', 'unknown')), 20)}")]
    findings += _runtime_findings(about, profile)
    measurement = None
    if all(finding.level is not Level.PROBLEM for finding in findings):
        probed, measurement = _probe(target, profile or _any_device(about["machine"]["arch"]))
        findings.append(probed)
    findings += machine_findings(about["machine"], measurement.states if measurement else (), is_local=target.is_local)
    evidence = None
    if profile is not None:
        own = _is_device(profile, about)
        evidence = "measured" if own else "proxy"
        findings += _device_findings(profile, target, about["machine"], is_device=own)
    return Diagnosis(place=target.text, findings=tuple(findings), evidence=evidence)


def _runtime_findings(about: About, profile: Profile | None) -> Iterator[Finding]:
    version = str(about["onnxruntime"])
    needed = profile.runtime.min_onnxruntime if profile else ""
    if parse_version(version) < parse_version(needed):
        advice = f"Profile {profile.name if profile else ''!r} needs {needed}; upgrade onnxruntime there."
        yield Finding(topic="onnxruntime", value=version, level=Level.PROBLEM, advice=advice)
    else:
        yield Finding(topic="onnxruntime", value=version)
    available = about.get("providers")
    if not isinstance(available, list):
        return  # the probe will tell
    value = shown(", ".join(_short(str(name)) for name in available), 300)
    missing = [name for name in (profile.runtime.providers if profile else ()) if name not in available]
    if not missing:
        yield Finding(topic="providers", value=value)
        return
    advice = (
        f"The profile asks for {', '.join(missing)}; install a build of ONNX Runtime that has it there, measure on the "
        "profile's device with --target, or choose a profile of this machine."
    )
    yield Finding(topic="providers", value=value, level=Level.PROBLEM, advice=advice)


def _device_findings(profile: Profile, target: Target, machine: About, *, is_device: bool) -> Iterator[Finding]:
    device = profile.device
    if is_device:
        yield Finding(topic="evidence", value=f"measured: this is {device.title}")
        yield from _power_mode(device.power_mode, shown(str(machine.get("power_mode") or ""), 40))
        return
    if target.is_local and profile.needs_target:
        hint = f"reach the device by --target {'ssh://user@host' if profile.measure.reach == 'ssh' else 'exec:COMMAND'}"
    else:
        hint = "choose the profile of this machine, or make one with profiles new --here"
    advice = f"Ratios to a baseline count, absolute limits are not judged; {hint}."
    yield Finding(topic="evidence", value=f"proxy: this is not {device.title}", level=Level.NOTE, advice=advice)


def _power_mode(wanted: str, found: str) -> Iterator[Finding]:
    if not wanted and not found:
        return
    if not wanted or wanted == found:
        yield Finding(topic="power mode", value=found)
        return
    advice = f"The profile is of {wanted}; set it with the device's own tool, or make a profile of this mode."
    yield Finding(topic="power mode", value=found or "unknown", level=Level.NOTE, advice=advice)


def _probe(target: Target, profile: Profile) -> tuple[Finding, Measurement | None]:
    try:
        with Meter(profile, target=target) as meter:
            found = meter.measure(_small_network(), max_seconds=_PROBE_SECONDS, min_samples=_PROBE_SAMPLES)
    except DeployCompressError as error:
        return _failure("measuring", error), None
    placed = ", ".join(f"{count} on {_short(name)}" for name, count in sorted(found.placement.items()))
    value = f"works: a small convolution takes {found.median_ms:.3g} ms" + (f" ({placed})" if placed else "")
    if found.settled:
        return Finding(topic="measuring", value=value), found
    advice = "Two blocks of runs in a row differ by more than 5 %; is something else running there?"
    return Finding(topic="measuring", value=value, level=Level.NOTE, advice=advice), found


def _failure(topic: str, error: DeployCompressError) -> Finding:
    return Finding(topic=topic, value="does not work", level=Level.PROBLEM, advice=str(error))


def _is_device(profile: Profile, about: About) -> bool:
    machine = about["machine"]
    flags = about.get("cpu_flags")
    told = map(str, flags) if isinstance(flags, list) else ()
    return profile.is_device(machine["arch"], machine["board"], machine["cpu"], told)


def _any_device(arch: str) -> Profile:
    return Profile.model_validate(
        {
            "name": "any",
            "schema": 1,
            "device": {"title": "any device", "arch": arch},
            "runtime": {"providers": ["CPUExecutionProvider"], "min_onnxruntime": "1.11"},
        }
    )


def _small_network() -> bytes:
    """Make a convolution of 8 channels at 16x16."""
    sizes: Sequence[int] = (1, 8, 16, 16)
    weight = numpy_helper.from_array(np.full((8, 8, 3, 3), 0.01, np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["output"], pads=[1, 1, 1, 1])],
        "probe",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, sizes)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _PROBE_OPSET)])
    model.ir_version = _PROBE_IR
    return bytes(model.SerializeToString())


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
