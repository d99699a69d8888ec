"""`deploycompress resume`: what can be gone on with, and what is said of everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploycompress.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["resume", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    return said.err


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert f"'{folder}' holds no run to go on with: no run.json" in refused(capsys, str(folder))


def test_a_run_that_names_code_asks_for_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "arch": "os:system"}))
    assert "add --trust" in refused(capsys, str(tmp_path))
    assert "lacks 'source'" in refused(capsys, str(tmp_path), "--trust")


def test_the_folder_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume"]) == 2
    assert "DIR" in capsys.readouterr().err
