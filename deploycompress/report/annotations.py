"""The document of `check` as GitHub annotations, within the number that GitHub shows of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploycompress.report.check_table import left_out_sentence, row_sentence

Document = Mapping[str, Any]  # Any: parsed JSON

MOST_OF_A_KIND = 10  # GitHub shows no more errors, no more warnings and no more notices of one step

_IN_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = {**_IN_DATA, ":": "%3A", ",": "%2C"}


def check_annotations(document: Document) -> list[str]:
    """Give the lines to print: an error a broken limit, a warning one that could not be judged, a notice one left out.

    Where there are more than GitHub shows, the last line of the kind says how many others there are.
    """
    rows = document["constraints"]
    broken = [row_sentence(row) for row in rows if row["verdict"] == "fail"]
    unknown = [row_sentence(row) for row in rows if row["verdict"] not in {"pass", "fail"}]
    title = f"{document['model']} on {document['profile']}"
    left_out = [left_out_sentence(one) for one in document["not_judged"]]
    return [
        *_lines("error", title, broken),
        *_lines("warning", title, unknown),
        *_lines("notice", title, left_out),
    ]


def _lines(kind: str, title: str, sentences: list[str]) -> list[str]:
    shown = sentences
    if len(sentences) > MOST_OF_A_KIND:
        left_out = len(sentences) - MOST_OF_A_KIND + 1
        shown = [*sentences[: MOST_OF_A_KIND - 1], f"and {left_out} more; the log has them all"]
    return [f"::{kind} title={_escape(title, _IN_PROPERTIES)}::{_escape(text, _IN_DATA)}" for text in shown]


def _escape(text: str, replacements: Mapping[str, str]) -> str:
    return text.translate({ord(mark): code for mark, code in replacements.items()})
