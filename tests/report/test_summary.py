"""The printed summary says what the document says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from deploycompress.report.summary import render_summary

DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "profile": "x86",
    "seed": 0,
    "data": {"accuracy_split": "test"},
    "teacher": {
        "accuracy": 0.9164,
        "latency_ms": {"p50": 2.0, "p90": 2.2, "n": 64},
        "params": 272474,
        "macs": 40813184,
        "weights_bytes": 1097152,
        "activation_peak_bytes": 524288,
        "peak_rss_bytes": None,
    },
    "student": {
        "accuracy": 0.9059,
        "latency_ms": {"p50": 1.4, "p90": 1.5, "n": 64},
        "params": 150000,
        "macs": 20000000,
        "weights_bytes": 600000,
        "activation_peak_bytes": 262144,
        "peak_rss_bytes": None,
    },
    "ratio": {"latency": 0.7, "params": 0.55, "macs": 0.49},
    "constraints": [
        {"expression": "latency_ratio <= 0.75", "value": 0.7, "max": 0.75, "ok": True, "evidence": "measured"},
    ],
    "parity": {"oracle_max_abs_diff": 3.1e-7, "torch_vs_ort_max_abs_diff": None},
    "search": {"engine": "rl-pruner", "evaluations": 48, "seconds": 312.4, "seconds_by_stage": {"a": 1.0, "b": 9.5}},
    "artifacts": {"model.onnx": {"sha256": "00", "opset": 17, "ir_version": 8}},
}


def _row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name).split()


def _with_score(**score: object) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    document["teacher"]["accuracy"] = document["student"]["accuracy"] = None
    document["data"]["accuracy_split"] = None
    return {**document, "score": {"split": "validation", "teacher": 1.0, **score}}


def test_a_score_that_is_no_accuracy_is_called_what_it_is() -> None:
    agreement = render_summary(_with_score(name="agreement", student=0.9))
    assert _row(agreement, "agreement with the teacher (validation)")[:4] == ["100.00", "%", "90.00", "%"]
    match = render_summary(_with_score(name="output_match", student=0.8, relative_error=0.25))
    assert _row(match, "relative error of outputs (validation)") == ["-", "0.25"]
    own = render_summary(_with_score(name="shapes:iou", teacher=40.0, student=30.0))
    assert _row(own, "shapes:iou (validation)") == ["40", "30", "0.750"]
    assert not any("accuracy" in text for text in (agreement, match, own))


def test_made_up_data_are_said_loudly() -> None:
    document = _with_score(name="agreement", student=0.9)
    document["data"]["source"] = "synthesised from batch norm statistics"
    assert "The student never saw a real one; its score is on more such images and is no accuracy." in render_summary(
        document
    )
    document["score"]["split"] = "test"
    assert "its score is on the real test images." in render_summary(document)
    assert "No data were given" not in render_summary(DOCUMENT)


def test_every_figure_stands_in_its_row() -> None:
    text = render_summary(DOCUMENT, Path("out"))
    assert _row(text, "accuracy (test)") == ["91.64", "%", "90.59", "%", "-1.05", "points"]
    assert _row(text, "latency p50") == ["2", "ms", "1.4", "ms", "0.700"]
    assert _row(text, "latency p90") == ["2.2", "ms", "1.5", "ms", f"{1.5 / 2.2:.3f}"]
    assert _row(text, "parameters") == ["272,474", "150,000", "0.550"]
    assert _row(text, "MACs") == ["40,813,184", "20,000,000", "0.490"]
    assert _row(text, "activation peak") == ["0.50", "MiB", "0.25", "MiB", "0.500"]
    assert _row(text, "latency_ratio <= 0.75") == ["0.7", "0.75", "yes", "measured"]
    assert _row(text, "search") == ["rl-pruner,", "48", "evaluations,", "312", "s"]
    assert _row(text, "seconds") == ["b", "9.5,", "a", "1.0"]
    assert str(Path("out") / "model.onnx") in text
    assert str(Path("out") / "result.json") in text


def test_what_nobody_measured_is_not_shown() -> None:
    assert "peak memory" not in render_summary(DOCUMENT)


def test_the_columns_line_up() -> None:
    lines = render_summary(DOCUMENT).split("\n\n")[1].splitlines()
    assert len({line.index(word) + len(word) for line, word in zip(lines[2:4], ("2 ms", "2.2 ms"), strict=True)}) == 1


def test_the_headline_counts_failed_constraints() -> None:
    assert render_summary(DOCUMENT).startswith("All constraints met for profile x86.")
    document = copy.deepcopy(DOCUMENT)
    document["constraints"][0]["ok"] = False
    assert render_summary(document).startswith("1 of 1 constraints NOT met")
    assert _row(render_summary(document), "latency_ratio <= 0.75")[2] == "NO"


def test_a_constraint_of_unknown_outcome_is_not_counted_as_met() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["constraints"][0].update(ok=None, value=None)
    text = render_summary(document)
    assert text.startswith("1 of 1 constraints not known to be met")
    assert _row(text, "latency_ratio <= 0.75") == ["-", "0.75", "unknown", "measured"]


def test_a_lower_limit_is_shown_as_its_author_wrote_it() -> None:
    row = {"expression": "accuracy >= 0.9", "value": -0.93, "max": -0.9, "ok": True, "evidence": "measured"}
    assert _row(render_summary({"constraints": [row]}), "accuracy >= 0.9") == ["0.93", "0.9", "yes", "measured"]


def test_null_in_any_place_is_survived() -> None:
    for key in DOCUMENT:
        assert "files" in render_summary({**DOCUMENT, key: None})
    for side in ("teacher", "student", "search", "parity", "ratio"):
        for key in DOCUMENT[side]:
            assert "files" in render_summary({**DOCUMENT, side: {**DOCUMENT[side], key: None}})
    assert "none written" in render_summary({})


def test_a_constraint_that_is_not_known_to_be_met_is_neither_met_nor_broken() -> None:
    document = copy.deepcopy(DOCUMENT)
    unknown = {"expression": "latency_ms <= 8", "value": 8.0, "max": 8.0, "ok": None, "evidence": "measured"}
    document["constraints"].append({**unknown, "verdict": "inconclusive"})
    text = render_summary(document)
    assert text.startswith("1 of 2 constraints not known to be met for profile x86.")
    assert _row(text, "latency_ms <= 8") == ["8", "8", "inconclusive", "measured"]
    document["constraints"].append({**unknown, "expression": "latency_ms <= 9", "verdict": None})
    assert _row(render_summary(document), "latency_ms <= 9") == ["8", "8", "unknown", "measured"]
    document["constraints"][0]["ok"] = False
    assert render_summary(document).startswith("1 of 3 constraints NOT met")


def test_networks_in_both_precisions_are_shown_where_a_lower_one_ships() -> None:
    assert "int8" not in render_summary(DOCUMENT)
    row = {"latency_ms": 2.0, "latency_ratio": 1.0, "peak_rss_bytes": None, "file_bytes": 2**20}
    table = [
        {**row, "network": "teacher", "precision": "fp32", "score": 0.9164},
        {**row, "network": "teacher", "precision": "int8", "score": 0.9150, "latency_ratio": 0.5},
    ]
    text = render_summary({**DOCUMENT, "score": {"name": "accuracy"}, "precision": {"table": table}})
    assert _row(text, "teacher  fp32") == ["91.64", "%", "2", "ms", "1.000", "-", "1.00", "MiB"]
    assert _row(text, "teacher  int8")[:5] == ["91.50", "%", "2", "ms", "0.500"]
