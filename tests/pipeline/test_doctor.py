"""What doctor makes of a machine's state and of the program's surroundings."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from deploycompress.measuring.conditions import MachineState
from deploycompress.pipeline.doctor_findings import Diagnosis, Finding, Level
from deploycompress.pipeline.doctor_host import diagnose_host
from deploycompress.pipeline.doctor_machine import machine_findings

MACHINE = {"arch": "aarch64", "board": "Some Board", "cpu": "Cortex", "cores": 4, "system": "Linux 6", "governor": ""}
CALM = MachineState(
    governor="performance", frequency_khz=1_500_000, temperature_c=50.0, throttled=False, load_average=0.5
)


def levels(findings: list[Finding]) -> dict[str, tuple[str, Level]]:
    return {finding.topic: (finding.value, finding.level) for finding in findings}


def test_a_calm_machine_gives_no_cause_for_notes() -> None:
    found = levels(machine_findings(MACHINE, [CALM, CALM], is_local=False))
    assert found == {
        "machine": ("Some Board, 4 cores, aarch64, Linux 6", Level.OK),
        "governor": ("performance", Level.OK),
        "frequency": ("1.50 GHz before, 1.50 GHz after", Level.OK),
        "temperature": ("50 C", Level.OK),
        "throttling": ("no", Level.OK),
        "load": ("0.50 on 4 cores", Level.OK),
    }


@pytest.mark.parametrize(
    ("topic", "state", "value"),
    [
        ("governor", MachineState(governor="ondemand"), "ondemand"),
        ("frequency", MachineState(frequency_khz=600_000), "1.50 GHz before, 0.60 GHz after"),
        ("throttling", MachineState(throttled=True), "yes"),
        ("load", MachineState(load_average=3.0), "3.00 on 4 cores"),
    ],
)
def test_what_makes_numbers_waver_is_noted_with_advice(topic: str, state: MachineState, value: str) -> None:
    states = [CALM, state] if topic == "frequency" else [state, state]
    [finding] = [entry for entry in machine_findings(MACHINE, states, is_local=False) if entry.topic == topic]
    assert (finding.value, finding.level) == (value, Level.NOTE)
    assert finding.advice.endswith(".")


def test_what_a_machine_does_not_tell_is_unknown() -> None:
    found = levels(machine_findings(MACHINE, [MachineState()], is_local=False))
    assert {topic: value for topic, (value, _) in found.items() if topic != "machine"} == dict.fromkeys(
        ("governor", "frequency", "temperature", "throttling", "load"), "unknown"
    )
    assert {level for _, level in found.values()} == {Level.OK}


@pytest.mark.parametrize(
    ("file", "content", "value"),
    [
        ("intel_pstate/no_turbo", "0", "on"),
        ("intel_pstate/no_turbo", "1", "off"),
        ("cpufreq/boost", "1", "on"),
        ("cpufreq/boost", "0", "off"),
        ("other", "1", "unknown"),
    ],
)
def test_turbo_is_read_where_the_system_tells_it(tmp_path: Path, file: str, content: str, value: str) -> None:
    path = tmp_path / "sys/devices/system/cpu" / file
    path.parent.mkdir(parents=True)
    path.write_text(content + "\n")
    found = levels(machine_findings(MACHINE, [CALM], is_local=True, root=tmp_path))
    assert found["turbo"] == (value, Level.NOTE if value == "on" else Level.OK)


def test_packages_are_those_that_are_installed() -> None:
    found = levels(list(diagnose_host().findings))
    for name in ("torch", "onnx", "onnxruntime", "numpy", "click"):
        assert found[name] == (metadata.version(name), Level.OK)
    assert "pytest" not in found


@pytest.mark.parametrize(
    ("requirement", "value", "level", "advice"),
    [
        ("no-such-package>=1.2", "not installed", Level.PROBLEM, "pip install 'no-such-package>=1.2'"),
        (
            'no-such-package>=1.2; extra == "report"',
            "not installed",
            Level.NOTE,
            "pip install 'deploycompress[report]'",
        ),
        ("numpy>=999.0", metadata.version("numpy"), Level.PROBLEM, "At least 999.0 is needed"),
        ("numpy>=1.0", metadata.version("numpy"), Level.OK, ""),
    ],
)
def test_a_requirement_that_is_not_met_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, value: str, level: Level, advice: str
) -> None:
    folder = tmp_path / "deploycompress-9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: deploycompress\nVersion: 9.9\nRequires-Dist: {requirement}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    name = requirement.partition(">")[0]
    [finding] = [entry for entry in diagnose_host().findings if entry.topic == name]
    assert (finding.value, finding.level) == (value, level)
    assert advice in finding.advice


def test_without_an_ssh_client_only_ssh_targets_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(list(diagnose_host().findings))["ssh client"] == ("not found", Level.NOTE)
    assert levels(list(diagnose_host(needs_ssh=True).findings))["ssh client"] == ("not found", Level.PROBLEM)
    assert not diagnose_host(needs_ssh=True).is_well
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert levels(list(diagnose_host(needs_ssh=True).findings))["ssh client"] == ("found", Level.OK)


@pytest.mark.parametrize(("setting", "level"), [("1", Level.OK), ("0", Level.NOTE)])
def test_telemetry_that_somebody_switched_on_is_noted(
    monkeypatch: pytest.MonkeyPatch, setting: str, level: Level
) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", setting)
    assert levels(list(diagnose_host().findings))["ONNX Runtime telemetry"][1] is level


def test_notes_do_not_stand_in_the_way_and_problems_do() -> None:
    note, problem = (Finding(topic="x", value="y", level=level) for level in (Level.NOTE, Level.PROBLEM))
    assert Diagnosis(place="host", findings=(note,)).is_well
    assert not Diagnosis(place="host", findings=(note, problem)).is_well
    assert Diagnosis(place="host", findings=(problem,)).to_document() == {
        "place": "host",
        "findings": ({"topic": "x", "value": "y", "level": "problem", "advice": ""},),
        "evidence": None,
        "is_well": False,
    }
