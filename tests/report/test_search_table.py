"""What is shown of a search: which rows, which columns, and what a log says."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console

from deploycompress.report.bars import open_bars
from deploycompress.report.lines import MOST_IN_A_LINE, PlainProgress, QuietProgress
from deploycompress.report.progress import SilentProgress
from deploycompress.report.search_table import ROWS_SHOWN, SearchRow, ShownRows, best_sentence, draw, row_of
from deploycompress.search.outcome import best_of
from deploycompress.search.space import Candidate
from tests.report.plot_trace import LIMITED, entry, searched


def row(index: int, reward: float = 0.5, **changes: object) -> SearchRow:
    made = SearchRow(
        index=index,
        of=100,
        step=0,
        kind="sample",
        reward=reward,
        best_reward=reward,
        accuracy=0.9,
        latency_ratio=0.58,
        latency_ms=4.25,
        entropy=1.5,
        seconds=2.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields are the test's own


def gather(*rows: SearchRow) -> ShownRows:
    shown = ShownRows()
    for one in rows:
        shown = shown.with_row(one)
    return shown


def drawn(shown: ShownRows, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(draw(shown, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_what_counts_as_accuracy_is_called_what_it_is() -> None:
    shown = gather(row(1, score="agreement"))
    assert "agreement" in drawn(shown)[0]
    assert "accuracy" not in drawn(shown)[0]
    assert "agreement 90.00 %" in best_sentence(shown)


def test_a_row_says_what_the_evaluation_says() -> None:
    trace, _ = searched(20)
    best = best_of(trace, LIMITED)
    assert best is not None
    one = next(one for one in trace if one.evaluation.accuracy is not None)
    made = row_of(one, LIMITED, index=3, of=20, best=best, entropy=1.25)
    assert (made.reward, made.best_reward) == (one.reward, best.reward)
    assert (made.accuracy, made.latency_ratio) == (one.evaluation.accuracy, one.evaluation.metrics["latency_ratio"])
    assert (made.index, made.of, made.step, made.kind) == (3, 20, one.proposal.step, "sample")
    assert (made.latency_ms, made.entropy, made.is_feasible) == (None, 1.25, True)


def test_seconds_are_of_all_stages_and_what_breaks_a_row_is_not_feasible() -> None:
    made = row_of(entry(-1.0, latency=0.9), LIMITED, index=1, of=None, best=None, entropy=None)
    assert (made.seconds, made.is_feasible, made.best_reward) == (3.5, False, None)


def test_the_newest_rows_are_shown_and_the_best_stays_on_top() -> None:
    rows = [row(1, 0.9), *(row(n, 0.5, best_reward=0.9) for n in range(2, 30))]
    lines = drawn(gather(*rows))
    assert len(lines) == 1 + 1 + ROWS_SHOWN
    assert lines[1].split()[:2] == ["best", "1"]
    assert [line.split()[0] for line in lines[2:]] == [str(n) for n in range(30 - ROWS_SHOWN, 30)]


def test_a_best_row_among_the_newest_is_shown_once_in_its_place() -> None:
    lines = drawn(gather(row(1, 0.5), row(2, 0.9), row(3, 0.1, best_reward=0.9)))
    assert [line.split()[:2] for line in lines[1:]] == [["1", "0"], ["best", "2"], ["3", "0"]]


def test_a_student_that_breaks_a_constraint_is_never_the_best() -> None:
    shown = gather(row(1, -1.0, is_feasible=False, best_reward=None))
    assert shown.best is None
    assert best_sentence(shown) == "nothing meets the constraints yet"
    assert "best" not in drawn(shown)[1]


def test_the_best_reward_of_a_search_that_goes_on_is_told_before_its_row_is_known() -> None:
    assert best_sentence(gather(row(41, 0.3, best_reward=0.8))) == "best reward 0.8000"


def test_figures_that_nobody_has_take_no_column() -> None:
    everything = drawn(gather(row(1)))[0]
    assert " ".join(everything.split()) == "evaluation step reward accuracy latency ratio ms entropy seconds"
    nothing = drawn(gather(row(1, accuracy=None, latency_ratio=None, latency_ms=None, entropy=None)))[0]
    assert nothing.split() == ["evaluation", "step", "reward", "seconds"]


def test_one_missing_figure_is_a_dash() -> None:
    lines = drawn(gather(row(1), row(2, -1.0, accuracy=None, best_reward=0.5, is_feasible=False)))
    assert lines[2].split()[:4] == ["2", "0", "-1.0000", "-"]


def test_the_kind_is_shown_where_there_are_two() -> None:
    assert "kind" in drawn(gather(row(1), row(2, kind="advance")))[0]


@pytest.mark.parametrize("width", range(24, 100, 7))
def test_a_narrow_terminal_loses_columns_not_letters(width: int) -> None:
    shown = gather(row(1, 0.9), row(2, 0.5, best_reward=0.9))
    lines = drawn(shown, width)
    wide = drawn(shown)
    assert len(lines) == len(wide)
    assert all(len(line) <= width for line in lines)
    for line, whole in zip(lines, wide, strict=True):
        assert set(line.split()) <= set(whole.split())
    assert "reward" in lines[0]


def plain(*rows: SearchRow) -> list[str]:
    stream = io.StringIO()
    with PlainProgress(stream).stage("search", total=100) as task:
        for one in rows:
            task.advance()
            task.row(one)
    return stream.getvalue().splitlines()


def test_a_log_has_one_line_for_each_update_with_its_mean_reward() -> None:
    rows = [row(n, n / 100, step=(n - 1) // 5) for n in range(1, 16)]
    lines = plain(*rows)
    assert lines[0] == "search (100) ..."
    assert lines[1] == (
        "search: 5 of 100, step 0: best reward 0.0500, accuracy 90.00 %, latency ratio 0.580, 4.25 ms; "
        "mean reward 0.0300 of 5; entropy 1.500"
    )
    assert [line.split(":")[1] for line in lines[1:4]] == [
        " 5 of 100, step 0",
        " 10 of 100, step 1",
        " 15 of 100, step 2",
    ]
    assert lines[4].startswith("search: done in ")
    assert lines[4].endswith("(best reward 0.1500, accuracy 90.00 %, latency ratio 0.580, 4.25 ms)")
    assert len(lines) == 5


@pytest.mark.parametrize("per_step", [1, 1000])
def test_a_log_of_many_evaluations_is_short_and_complete(per_step: int) -> None:
    lines = plain(*(row(n, 0.5, step=n // per_step) for n in range(1, 104)))[1:-1]
    told = [int(re.findall(r": (\d+) of 100", line)[0]) for line in lines]
    counts = [int(re.findall(r"of (\d+); entropy", line)[0]) for line in lines]
    assert told[-1] == 103
    assert sum(counts) == 103
    assert all(later - earlier == count for (earlier, later), count in zip(pairwise([0, *told]), counts, strict=True))
    assert max(counts) <= MOST_IN_A_LINE
    assert len(lines) <= 21


def test_a_slow_search_is_told_of_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploycompress.report.lines.LINE_EVERY_S", 0.0)
    lines = plain(row(1), row(2))
    assert [line.split(",")[0] for line in lines[2:4]] == ["search: 1 of 100", "search: 2 of 100"]


def test_an_interrupted_search_still_tells_of_its_last_rows() -> None:
    stream = io.StringIO()
    search = PlainProgress(stream).stage("search")
    search.__enter__().row(row(1))
    stop = KeyboardInterrupt()
    assert not search.__exit__(KeyboardInterrupt, stop, None)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()[1:]] == [
        "search: 1 of 100",
        "search: stopped after 0.0 s (best reward 0.5000",
    ]


def test_quiet_and_silent_listeners_show_no_rows(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    for progress in (QuietProgress(stream), SilentProgress()):
        with progress.stage("search") as task:
            task.row(row(1))
    assert stream.getvalue() == ""
    assert capfd.readouterr() == ("", "")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_shows_the_table_while_the_stage_is_open_and_one_line_after(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("deploycompress.report.bars.SHORTEST_SHOWN_S", 0.0)
    stream = _Terminal()
    with open_bars(stream) as bars:
        with bars.stage("search", total=9) as task:
            task.row(row(1, 0.875))
            bars.live.refresh()
            assert "latency ratio" in stream.getvalue()
            assert "best" in stream.getvalue()
        written = len(stream.getvalue())
        bars.live.refresh()
        assert "latency ratio" not in stream.getvalue()[written:]
    assert "best reward 0.8750, accuracy 90.00 %" in stream.getvalue()
    assert ("\x1b[1;32m" in stream.getvalue()) is not no_color


def test_names_with_markup_are_not_read_by_the_terminal() -> None:
    assert "[red]" in " ".join(drawn(gather(row(1, kind="[red]"), row(2))))


def test_an_entry_without_a_candidate_has_a_row() -> None:
    made = row_of(entry(0.5, candidate=Candidate()), LIMITED, index=1, of=1, best=None, entropy=None)
    assert best_sentence(gather(made)) == "nothing meets the constraints yet"
