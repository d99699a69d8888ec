"""GitHub annotations: one line each, nothing breaks out of it, and no more than GitHub shows."""

from __future__ import annotations

from deploycompress.report.annotations import check_annotations
from tests.report.checked import document, row


def test_broken_limits_are_errors_and_unknown_ones_warnings() -> None:
    lines = check_annotations(
        document(row("a <= 1", "pass"), row("b <= 1", "fail"), row("c <= 1", "inconclusive"), row("d <= 1", None))
    )
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning"]
    assert lines[0].startswith("::error title=model.onnx on x86::b <= 1 does not hold: 0.5 (0.375 to 0.625, measured)")


def test_limits_that_were_left_out_are_notices() -> None:
    left_out = [{"expression": "accuracy >= 0.9", "reason": "accuracy needs data"}]
    lines = check_annotations(document(row("a <= 1", "pass"), not_judged=left_out))
    said = "the profile's limit accuracy >= 0.9 was not judged: accuracy needs data"
    assert lines == [f"::notice title=model.onnx on x86::{said}"]


def test_marks_of_the_command_are_escaped() -> None:
    broken = row("latency <= 5% : x, y\r\n::error::boo", "fail")
    (line,) = check_annotations(document(broken, model="a,b:c%\n.onnx"))
    assert line.startswith("::error title=a%2Cb%3Ac%25%0A.onnx on x86::latency <= 5%25 : x, y%0D%0A::error::boo ")
    assert "\n" not in line
    assert "\r" not in line


def test_more_than_ten_of_a_kind_are_summed_up() -> None:
    lines = check_annotations(document(*(row(f"a{index} <= 1", "fail") for index in range(25))))
    assert len(lines) == 10
    assert lines[-1].endswith("and 16 more; the log has them all")
    assert len(check_annotations(document(*(row(f"a{index} <= 1", "fail") for index in range(10))))) == 10
