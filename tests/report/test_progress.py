"""What progress writes, and where."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from deploycompress.report.bars import open_bars
from deploycompress.report.lines import PlainProgress, QuietProgress
from deploycompress.report.listener import open_progress
from deploycompress.report.progress import SilentProgress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_writes_a_line_at_the_start_and_one_with_seconds_at_the_end() -> None:
    stream = io.StringIO()
    with PlainProgress(stream).stage("search", total=3) as task:
        assert stream.getvalue() == "search (3) ...\n"
        task.advance()
        task.note("best 0.71")
    assert stream.getvalue().splitlines()[1] == "search: done in 0.0 s (best 0.71)"


def test_plain_indents_stages_within_stages() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream)
    with progress.stage("ship"), progress.stage("distil"):
        progress.message("epoch 1")
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == [
        "ship ...",
        "  distil ...",
        "    epoch 1",
        "  distil",
        "ship",
    ]


def test_plain_says_that_a_failed_stage_was_stopped() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), PlainProgress(stream).stage("search"):
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[1].startswith("search: stopped after ")


def test_quiet_writes_warnings_only() -> None:
    stream = io.StringIO()
    progress = QuietProgress(stream)
    with progress.stage("search", total=1) as task:
        task.advance()
        progress.message("not shown")
        progress.warning("accuracy is near chance")
    assert stream.getvalue() == "warning: accuracy is near chance\n"


def test_silence_still_logs_warnings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="deploycompress"):
        progress = SilentProgress()
        with progress.stage("search"):
            progress.message("not logged at this level")
        progress.warning("accuracy is near chance")
    assert caplog.messages == ["accuracy is near chance"]


@pytest.mark.parametrize(
    ("terminal", "term", "quiet", "expected"),
    [
        (True, "xterm", False, "BarProgress"),
        (True, "dumb", False, "PlainProgress"),
        (False, "xterm", False, "PlainProgress"),
        (True, "xterm", True, "QuietProgress"),
    ],
)
def test_the_listener_suits_the_stream(
    terminal: bool, term: str, quiet: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    with open_progress(_Terminal() if terminal else io.StringIO(), quiet=quiet) as progress:
        assert type(progress).__name__ == expected


def _draw(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("deploycompress.report.bars.SHORTEST_SHOWN_S", 0.0)
    stream = _Terminal()
    with open_bars(stream) as bars, bars.stage("search [1/2]", total=2) as task:
        task.advance()
        task.note("best [bold]")
        bars.warning("near [red]chance")
    return stream.getvalue()


def test_bars_show_stage_note_and_warning_without_reading_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = _draw(monkeypatch)
    assert "search [1/2]" in drawn
    assert "best [bold]" in drawn
    assert "near [red]chance" in drawn
    assert "\x1b[33m" in drawn


def test_bars_honour_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in _draw(monkeypatch)


def test_rich_is_not_imported_with_the_protocol() -> None:
    code = "import sys, deploycompress.report.progress; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plain_shows_that_a_long_stage_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploycompress.report.lines.LINE_EVERY_S", 0.0)
    stream = io.StringIO()
    with PlainProgress(stream).stage("distil", total=4) as task:
        task.note("step 1")
        task.advance()
    assert stream.getvalue().splitlines()[1] == "distil: 25% (step 1)"
