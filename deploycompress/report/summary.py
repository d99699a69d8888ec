"""The result document as a page of text for a terminal: teacher beside student, constraints, files.

It only reads what `result.json` holds. Figures that were not taken are null there and shown as a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Document = Mapping[str, Any]  # Any: parsed JSON

MISSING = "-"
MEBIBYTE = 2**20


def render_summary(document: Document, out: Path | None = None) -> str:
    """Lay out a result document for reading.

    Args:
        document: content of `result.json`.
        out: folder that holds the files, None when nothing was written.

    Returns:
        Lines of plain text, without a newline at the end.
    """
    parts = [_headline(document), _origin(document), _figures(document), _precisions(document)]
    parts += [_constraints(document), _footer(document, out)]
    return "\n\n".join(part for part in parts if part)


def _headline(document: Document) -> str:
    rows = _sequence(document, "constraints")
    failed = sum(row.get("ok") is False for row in rows)
    unknown = sum(row.get("ok") is None for row in rows)
    profile = f" for profile {document['profile']}" if isinstance(document.get("profile"), str) else ""
    if not rows:
        return f"Compressed{profile}; no constraint was set."
    if failed:
        return f"{failed} of {len(rows)} constraints NOT met{profile}."
    if unknown:
        return f"{unknown} of {len(rows)} constraints not known to be met{profile}."
    return f"All constraints met{profile}."


def _origin(document: Document) -> str:
    """Say loudly when no real image was seen; nothing otherwise."""
    source = _mapping(document, "data").get("source")
    if not isinstance(source, str) or source == "given":
        return ""
    split = _mapping(document, "score").get("split")
    images = "the real test images" if split == "test" else "more such images and is no accuracy"
    return f"No data were given: images were {source}.\nThe student never saw a real one; its score is on {images}."


def _score(document: Document) -> list[list[str]]:
    """Lay out a score that is not the accuracy."""
    score = _mapping(document, "score")
    name, split = score.get("name", "accuracy"), score.get("split")
    if name == "accuracy":
        return []
    teacher, student = _lookup(score, "teacher"), _lookup(score, "student")
    if name == "agreement":
        shown = [_show(_percent, teacher), _show(_percent, student), _points(teacher, student)]
        return [[f"agreement with the teacher ({split})", *shown]]
    if name == "output_match":
        return [[f"relative error of outputs ({split})", MISSING, _show(_number, _lookup(score, "relative_error")), ""]]
    compared = _show(_ratio, _quotient(teacher, student))
    return [[f"{name} ({split})", _show(_number, teacher), _show(_number, student), compared]]


def _figures(document: Document) -> str:
    split = _mapping(document, "data").get("accuracy_split")
    accuracy = f"accuracy ({split})" if split else "accuracy"
    ratios = _mapping(document, "ratio")
    rows = [["", "teacher", "student", "ratio"], *_score(document)]
    for name, path, show, ratio in (
        (accuracy, ("accuracy",), _percent, None),
        ("latency p50", ("latency_ms", "p50"), _milliseconds, "latency"),
        ("latency p90", ("latency_ms", "p90"), _milliseconds, None),
        ("parameters", ("params",), _count, "params"),
        ("MACs", ("macs",), _count, "macs"),
        ("weights", ("weights_bytes",), _mebibytes, None),
        ("activation peak", ("activation_peak_bytes",), _mebibytes, None),
        ("peak memory", ("peak_rss_bytes",), _mebibytes, None),
    ):
        teacher, student = (_lookup(document, side, *path) for side in ("teacher", "student"))
        if teacher is None and student is None:
            continue
        if path == ("accuracy",):
            compared = _points(teacher, student)
        else:
            compared = _show(_ratio, _lookup(ratios, ratio) if ratio else _quotient(teacher, student))
        rows.append([name, _show(show, teacher), _show(show, student), compared])
    return _align(rows, right=(1, 2, 3)) if len(rows) > 1 else ""


def _precisions(document: Document) -> str:
    """Lay out teacher and student in both precisions; nothing where single precision ships."""
    rows = _sequence(_mapping(document, "precision"), "table")
    name = _mapping(document, "score").get("name", "score")
    head = ("", "", str(name), "latency p50", "ratio", "peak memory", "file")
    shown = [_precision(row, is_share=name in ("accuracy", "agreement")) for row in rows]
    return _align([head, *shown], right=(2, 3, 4, 5, 6)) if rows else ""


def _precision(row: Document, *, is_share: bool) -> tuple[str, ...]:
    return (
        str(row.get("network") or MISSING),
        str(row.get("precision") or MISSING),
        _show(_percent if is_share else _number, _lookup(row, "score")),
        _show(_milliseconds, _lookup(row, "latency_ms")),
        _show(_ratio, _lookup(row, "latency_ratio")),
        _show(_mebibytes, _lookup(row, "peak_rss_bytes")),
        _show(_mebibytes, _lookup(row, "file_bytes")),
    )


def _constraints(document: Document) -> str:
    head = ("constraint", "value", "limit", "met", "evidence")
    given = _sequence(document, "constraints")
    reasons = [f"{row.get('expression')}: {row['reason']}." for row in given if row.get("reason")]
    table = _align([head, *(_constraint(row) for row in given)], right=(1, 2)) if given else ""
    return "\n".join([table, *reasons])


def _constraint(row: Document) -> tuple[str, ...]:
    expression = str(row.get("expression") or MISSING)
    sign = -1.0 if ">=" in expression else 1.0  # rows are stored as <=, which turns both sides of a >= around
    value, limit = (_lookup(row, key) for key in ("value", "max"))
    return (
        expression,
        _show(_number, None if value is None else sign * value),
        _show(_number, None if limit is None else sign * limit),
        str(row.get("verdict") or "unknown") if row.get("ok") is None else ("yes" if row["ok"] is True else "NO"),
        str(row.get("evidence") or MISSING),
    )


def _footer(document: Document, out: Path | None) -> str:
    search, parity = _mapping(document, "search"), _mapping(document, "parity")
    rows = []
    if search:
        evaluations, seconds = _show(_count, _lookup(search, "evaluations")), _show(_count, _lookup(search, "seconds"))
        rows.append(("search", f"{search.get('engine') or MISSING}, {evaluations} evaluations, {seconds} s"))
    stages = _mapping(search, "seconds_by_stage")
    if stages:
        dearest_first = sorted(stages, key=lambda name: -(_lookup(stages, name) or 0.0))
        spent = (f"{name} {_show(_seconds, _lookup(stages, name))}" for name in dearest_first)
        rows.append(("seconds", ", ".join(spent)))
    if parity:
        differences = (f"{name} {_show(_difference, _lookup(parity, name))}" for name in parity)
        rows.append(("parity", ", ".join(differences)))
    names = dict.fromkeys([*_mapping(document, "artifacts"), "result.json"])
    paths = ["none written"] if out is None else [str(out / name) for name in names]
    rows += [("" if index else "files", path) for index, path in enumerate(paths)]
    return _align(rows)


def _align(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _lookup(document: Document, *path: str) -> float | None:
    value: object = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mapping(document: Document, key: str) -> Document:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _sequence(document: Document, key: str) -> Sequence[Document]:
    return [row for row in document.get(key) or () if isinstance(row, Mapping)]


def _show(form: Callable[[float], str], value: float | None) -> str:
    return MISSING if value is None else form(value)


def _quotient(teacher: float | None, student: float | None) -> float | None:
    return student / teacher if teacher and student is not None else None


def _points(teacher: float | None, student: float | None) -> str:
    return MISSING if teacher is None or student is None else f"{100 * (student - teacher):+.2f} points"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _milliseconds(value: float) -> str:
    return f"{value:.4g} ms"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _mebibytes(value: float) -> str:
    return f"{value / MEBIBYTE:.2f} MiB"


def _ratio(value: float) -> str:
    return f"{value:.3f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _seconds(value: float) -> str:
    return f"{value:.1f}"


def _difference(value: float) -> str:
    return f"{value:.1e}"
