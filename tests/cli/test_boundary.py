"""Each kind of ending: its exit code, what is written where, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest

from deploycompress.cli.boundary import Manner, Terminated, run_guarded
from deploycompress.errors import (
    ConstraintError,
    DataError,
    MeasureError,
    ModelError,
    OutputError,
    ProfileError,
    UntrustedModelError,
    UsageError,
)

TEXT = Manner(as_json=False, verbose=False)
JSON = Manner(as_json=True, verbose=False)


def _raiser(error: BaseException) -> Callable[[], int]:
    def action() -> NoReturn:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConstraintError("Too slow."), 1),
        (UsageError("Odd."), 2),
        (ProfileError("None."), 2),
        (DataError("Empty."), 2),
        (OutputError("Taken."), 2),
        (ModelError("Truncated."), 3),
        (UntrustedModelError("Runs code."), 3),
        (MeasureError("Crashed."), 4),
        (click.UsageError("No such option."), 2),
        (click.FileError("x", "unreadable"), 2),
    ],
)
def test_a_foreseen_error_is_one_sentence_and_its_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_guarded(_raiser(error), manner=TEXT, words=[]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", captured.err)


def test_with_json_the_error_is_on_stdout_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded(_raiser(ModelError("Truncated\nfile.")), manner=JSON, words=[]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": {"code": 3, "message": "Truncated file."}}
    assert captured.err == "error: Truncated file.\n"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130), (Terminated(), 143)])
def test_interruption_has_the_shell_s_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_guarded(_raiser(error), manner=TEXT, words=[]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_what_nobody_foresaw_leaves_a_crash_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_guarded(_raiser(ZeroDivisionError("by zero")), manner=TEXT, words=["--seed", "1"]) == 5
    captured = capsys.readouterr()
    assert captured.err.startswith("error: internal error: ZeroDivisionError: by zero; details are in ")
    assert captured.err.count("\n") == 1
    (log,) = tmp_path.iterdir()
    assert str(log) in captured.err
    text = log.read_text()
    assert '["--seed", "1"]' in text
    assert re.search(r"^numpy \d", text, re.MULTILINE)
    assert "Traceback (most recent call last)" in text


def test_the_traceback_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_guarded(_raiser(ZeroDivisionError("by zero")), manner=Manner(as_json=False, verbose=True), words=[])
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_broken_pipe_that_is_not_our_output_is_a_crash(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_guarded(_raiser(BrokenPipeError("a child's pipe")), manner=TEXT, words=[]) == 5
    assert "internal error: BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "as_json", "verbose"),
    [([], False, False), (["--json"], True, False), (["-v", "m"], False, True), (["--", "--json"], False, False)],
)
def test_the_manner_is_read_from_the_words(words: list[str], as_json: bool, verbose: bool) -> None:
    assert Manner.from_words(words) == Manner(as_json=as_json, verbose=verbose)


def test_the_manner_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYCOMPRESS_JSON", "1")
    assert Manner.from_words([]).as_json


def test_a_reader_that_leaves_early_hears_no_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from deploycompress.cli.main import main; sys.exit(main(['--help']))"
    try:
        run = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_program_with_their_codes(number: signal.Signals, code: int) -> None:
    script = (
        "import signal, sys, time\n"
        "import deploycompress.cli.main as cli\n"
        # a suite in the background is deaf to interrupts, and so are its children
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(words):\n    print('ready', flush=True)\n    time.sleep(30)\n"
        "cli._run = wait\n"
        "sys.exit(cli.main([]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        _, errors = child.communicate(timeout=20)
    assert child.returncode == code
    assert errors.startswith(b"error: ")
    assert b"Traceback" not in errors
