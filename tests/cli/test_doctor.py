"""The doctor command on real agents: the one of this machine, one behind a command, and some that cannot answer."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest

from deploycompress.cli.boundary import Manner, run_guarded
from deploycompress.cli.doctor import doctor_command

BOARD = """
schema = 1
[device]
title = "some board"
arch = "{arch}"
[runtime]
providers = ["CPUExecutionProvider"]
min_onnxruntime = "{version}"
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOYCOMPRESS_TARGET", raising=False)
    return tmp_path


def doctor(*words: str) -> int:
    def run() -> int:
        with doctor_command.make_context("doctor", list(words)) as context:
            code = doctor_command.invoke(context)
        assert isinstance(code, int)
        return code

    return run_guarded(run, manner=Manner(as_json=False, verbose=False), words=words)


def document(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = doctor("--json", *words)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return code, found


def written(folder: Path, *, arch: str = "riscv64", version: str = "1.11") -> str:
    path = folder / "board.toml"
    path.write_text(BOARD.format(arch=arch, version=version))
    return str(path)


def findings(place: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {finding["topic"]: finding for finding in place["findings"]}


def test_this_machine_can_measure(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = document(capsys)
    assert (code, found["would_measure"], found["profile"]) == (0, True, None)
    host, here = found["places"]
    assert (host["place"], here["place"], here["evidence"]) == ("host", "local", None)
    told = findings(here)
    assert platform.python_version() in told["agent"]["value"]
    assert told["onnxruntime"]["value"] == metadata.version("onnxruntime")
    assert "works" in told["measuring"]["value"]
    assert platform.machine() in told["machine"]["value"]


def test_evidence_is_measured_on_the_device_and_proxy_elsewhere(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = document(capsys, "--profile", written(elsewhere, arch=platform.machine()))[1]
    assert own["places"][1]["evidence"] == "measured"
    code, other = document(capsys, "--profile", written(elsewhere))
    assert (code, other["places"][1]["evidence"]) == (0, "proxy")
    assert "absolute limits are not judged" in findings(other["places"][1])["evidence"]["advice"]


def test_a_profile_that_needs_another_provider_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor("--profile", "jetson") == 4
    out = capsys.readouterr().out
    assert "PROBLEM" in out
    assert "TensorrtExecutionProvider" in out
    assert "--target ssh://user@host" in out
    assert out.endswith("Measuring would not work.\n")


def test_an_onnx_runtime_that_is_too_old_is_a_problem(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = document(capsys, "--profile", written(elsewhere, version="99.0"))
    assert code == 4
    finding = findings(found["places"][1])["onnxruntime"]
    assert (finding["value"], finding["level"]) == (metadata.version("onnxruntime"), "problem")
    assert "needs 99.0" in finding["advice"]


def test_a_device_behind_a_command_is_asked_itself(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"exec:{sys.executable} -I -c {{bootstrap}}"
    code, found = document(capsys, "--target", target, "--profile", written(elsewhere))
    assert code == 0
    assert [place["place"] for place in found["places"]] == ["host", target]
    assert "works" in findings(found["places"][1])["measuring"]["value"]


def test_one_device_that_does_not_answer_fails_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = document(capsys, "--target", "local", "--target", "exec:false {bootstrap}")
    assert code == 4
    assert [place["is_well"] for place in found["places"]] == [True, True, False]
    agent = findings(found["places"][2])["agent"]
    assert agent["level"] == "problem"
    assert "does not start" in agent["advice"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "jetsn"], "did you mean 'jetson'"),
        (["--target", "telnet://board"], "telnet://board"),
        (["surplus"], "surplus"),
    ],
)
def test_usage_errors_are_refused_before_anything_runs(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_the_page_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor() == 0
    out = capsys.readouterr().out
    assert out.startswith("This program\n")
    assert "\nTarget local\n" in out
    assert out.endswith("Measuring would work.\n")


def test_help_shows_examples_and_exit_codes() -> None:
    text = doctor_command.get_help(click.Context(doctor_command, info_name="doctor"))
    assert text.index("Examples:") < text.index("Options:") < text.index("Exit codes:")
