"""JUnit XML: what readers of the usual schema find in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from deploycompress.errors import OutputError
from deploycompress.report.junit import check_junit, write_junit
from tests.report.checked import document, row

# Element: (required attributes, allowed children), after the schema that Jenkins and GitLab read (junit-10.xsd).
SCHEMA: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"properties", "testcase"}),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def parsed(content: dict[str, Any]) -> Xml.Element:
    root = Xml.fromstring(check_junit(content))
    assert_valid(root)
    return root


def assert_valid(element: Xml.Element) -> None:
    required, children = SCHEMA[element.tag]
    assert set(element.attrib) == required
    for child in element:
        assert child.tag in children
        assert_valid(child)


def test_each_limit_is_a_case_with_its_outcome() -> None:
    rows = [
        row("a <= 1", "pass"),
        row("b <= 1", "fail"),
        row("c <= 1", "inconclusive"),
        row("d <= 1", None, value=None),
    ]
    root = parsed(document(*rows))
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"a <= 1": ["system-out"], "b <= 1": ["failure"], "c <= 1": ["error"], "d <= 1": ["error"]}
    for element in (root, root[0]):
        assert [element.get(key) for key in ("tests", "failures", "errors")] == ["4", "1", "2"]
    assert {entry.get("name"): entry.get("value") for entry in root.iter("property")}["profile"] == "x86"


def test_a_limit_that_was_left_out_is_skipped() -> None:
    left_out = [{"expression": "accuracy >= 0.9", "reason": "accuracy needs data"}]
    root = parsed(document(row("a <= 1", "pass"), not_judged=left_out))
    assert [root[0].get(key) for key in ("tests", "failures", "errors", "skipped")] == ["2", "0", "0", "1"]
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"a <= 1": ["system-out"], "accuracy >= 0.9": ["skipped"]}
    skipped = root.find(".//skipped")
    assert skipped is not None
    assert skipped.attrib["message"].endswith("was not judged: accuracy needs data")


def test_why_a_limit_was_not_judged_is_in_its_message() -> None:
    root = parsed(document(row("a <= 1", None, reason="nobody measured it")))
    error = root.find(".//error")
    assert error is not None
    assert "nobody measured it" in error.attrib["message"]


def test_text_cannot_break_the_document() -> None:
    root = parsed(document(row('a <= 1 "<&>]]>\x00\x1b\ud800', "fail"), model='<"m">.onnx'))
    case = root.find(".//testcase")
    assert case is not None
    assert case.attrib["name"] == 'a <= 1 "<&>]]>???'
    assert root[0].attrib["name"] == '<"m">.onnx on x86'


def test_only_an_own_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "check.xml"
    write_junit(path, document(row("a <= 1", "fail")))
    write_junit(path, document(row("b <= 1", "pass")))
    assert "b &lt;= 1" in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["check.xml"]
    path.write_text('<?xml version="1.0"?><testsuites name="pytest tests"/>')
    with pytest.raises(OutputError, match="not written by this program"):
        write_junit(path, document(row("a <= 1", "fail")))
    assert "pytest" in path.read_text()
    with pytest.raises(OutputError, match="folder"):
        write_junit(tmp_path / "absent" / "check.xml", document(row("a <= 1", "fail")))
