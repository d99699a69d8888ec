"""Pages of Markdown: a table that holds together, and a job summary within its limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.errors import OutputError
from deploycompress.report.markdown import LARGEST_SUMMARY, append_summary, check_markdown, write_markdown
from tests.report.checked import document, row


def test_a_limit_a_line_with_its_verdict() -> None:
    page = check_markdown(document(row("a <= 1", "pass"), row("b <= 1", "fail", value=2.0)))
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[0] == "| limit | value | interval | verdict | evidence |"
    assert table[1] == "| --- | ---: | ---: | --- | --- |"
    assert table[2] == "| a &lt;= 1 | 0.5 | 0.375 to 0.625 | pass | measured |"
    assert table[3].split(" | ")[1:4] == ["2", "1.875 to 2.125", "fail"]


def test_a_limit_turned_around_is_shown_as_written() -> None:
    page = check_markdown(document(row("throughput >= 1", "fail", value=-0.5)))
    assert "| throughput &gt;= 1 | 0.5 | 0.375 to 0.625 | fail |" in page


def test_text_cannot_break_the_table_or_add_markup() -> None:
    hostile = row("a | b\n\n<img src=x> [l](u) `c` <= 1", None, value=None, reason="*because*")
    page = check_markdown(document(hostile, model="<script>|.onnx"))
    line = next(line for line in page.splitlines() if line.startswith("| a"))
    assert line.replace("\\|", "").count("|") == 6
    assert "<img" not in page
    assert "<script" not in page
    assert "\\*because\\*" in page


def test_summary_grows_and_keeps_what_is_there(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("Built by others.\n")
    assert append_summary(summary, document(row("a <= 1", "pass")))
    assert append_summary(summary, document(row("b <= 1", "pass")))
    text = summary.read_text()
    assert text.startswith("Built by others.\n")
    assert text.index("a &lt;= 1") < text.index("b &lt;= 1")


def test_summary_never_grows_over_the_limit_that_drops_all_of_it(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"x" * (LARGEST_SUMMARY - 100))
    assert not append_summary(summary, document(row("a <= 1", "pass")))
    assert summary.stat().st_size == LARGEST_SUMMARY - 100


def test_a_page_of_somebody_else_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Mine\n")
    with pytest.raises(OutputError, match="not written by this program"):
        write_markdown(path, document(row("a <= 1", "pass")))
    assert path.read_text() == "# Mine\n"
    path.unlink()
    write_markdown(path, document(row("a <= 1", "pass")))
    write_markdown(path, document(row("b <= 1", "pass")))
    assert "b &lt;= 1" in path.read_text()
