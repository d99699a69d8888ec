"""The document of `check` as JUnit XML, which GitLab, Jenkins and others show: a test case a limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from deploycompress.report.check_table import left_out_sentence, row_sentence, shown_value
from deploycompress.report.own_file import check_place, write_own

Document = Mapping[str, Any]  # Any: parsed JSON

SUITE = "deploycompress.check"
MARK = f'<testsuites name="{SUITE}"'

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_junit(document: Document) -> bytes:
    """Lay out a document of `check`: a broken limit is a failure, one that could not be judged an error.

    A limit of the profile that was left out is skipped.
    """
    rows, left_out = document["constraints"], document["not_judged"]
    counts = {
        "tests": str(len(rows) + len(left_out)),
        "failures": str(sum(row["verdict"] == "fail" for row in rows)),
        "errors": str(sum(row["verdict"] not in {"pass", "fail"} for row in rows)),
    }
    root = Xml.Element("testsuites", {"name": SUITE, **counts, "time": "0"})
    suite = Xml.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(f"{document['model']} on {document['profile']}"),
            **counts,
            "skipped": str(len(left_out)),
            "time": "0",
        },
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in _properties(document).items():
        Xml.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    classname = _clean(f"deploycompress.{document['profile']}")
    for row in rows:
        _add_case(suite, row, classname)
    for one in left_out:
        attributes = {"name": _clean(one["expression"]), "classname": classname, "time": "0"}
        case = Xml.SubElement(suite, "testcase", attributes)
        Xml.SubElement(case, "skipped", {"message": _clean(left_out_sentence(one))})
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def check_junit_place(path: Path) -> None:
    """Refuse a place that cannot take a report.

    Raises:
        OutputError: another program's file is there, or the folder cannot be written to.
    """
    check_place(path, MARK)


def write_junit(path: Path, document: Document) -> None:
    """Write a report.

    Raises:
        OutputError: another program's file is there, or it cannot be written.
    """
    write_own(path, check_junit(document), MARK)


def _add_case(suite: Xml.Element, row: Document, classname: str) -> None:
    case = Xml.SubElement(suite, "testcase", {"name": _clean(row["expression"]), "classname": classname, "time": "0"})
    sentence = _clean(row_sentence(row))
    if row["verdict"] == "fail":
        Xml.SubElement(case, "failure", {"message": sentence, "type": "limit"}).text = sentence
    elif row["verdict"] != "pass":
        Xml.SubElement(case, "error", {"message": sentence, "type": row["verdict"] or "unjudged"}).text = sentence
    else:
        value = shown_value(row)
        Xml.SubElement(case, "system-out").text = f"{sentence}\nvalue {value!r}"


def _properties(document: Document) -> dict[str, str]:
    machine = document["machine"]
    return {
        "profile": document["profile"],
        "evidence": document["evidence"],
        "machine": machine["id"],
        "onnxruntime": machine["onnxruntime"],
        "sha256": document["sha256"],
    }


def _clean(text: str) -> str:
    """Leave out characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)
