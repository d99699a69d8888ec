"""Tables on a terminal and beside one."""

from __future__ import annotations

import io

import pytest

from deploycompress.report.text_table import TextTable, interval, markdown, number, plain, print_table

TABLE = TextTable(head=("name", "ms"), rows=[("[red]a[/red]", "1.5"), ("b", "10")], right=(1,))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_text() -> None:
    stream = io.StringIO()
    print_table(TABLE, stream)
    assert stream.getvalue() == "name           ms\n[red]a[/red]  1.5\nb              10\n"
    assert stream.getvalue() == plain(TABLE) + "\n"


def test_a_terminal_gets_lines_and_names_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    print_table(TABLE, stream)
    assert "[red]a[/red]" in stream.getvalue()
    assert "│" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0"), (1.23456, "1.235"), (12345.6, "12,346"), (-0.5, "-0.5")]
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text


def test_intervals_say_where_they_are_open_or_exact() -> None:
    assert interval([1.0, 2.0]) == "1 to 2"
    assert interval([None, 2.0]) == "? to 2"
    assert interval([3.0, 3.0]) == "exact"
    assert interval([None, None]) == "? to ?"
    assert interval(None) == "-"


def test_markdown_marks_columns_of_numbers() -> None:
    assert markdown(TABLE).splitlines()[1] == "| --- | ---: |"
