"""The table says what the runs' own files say."""

from __future__ import annotations

from tools.precision_results import table

ROW = {"latency_ratio": 0.27, "latency_ratio_interval": [0.268, 0.272]}
DOCUMENT = {
    "constraints": [{"expression": "latency_ratio <= 0.15"}],
    "training": {"images_seen": 1000},
    "search": {"seconds_by_stage": {"search": 60.0, "train": 120.0}},
    "precision": {
        "name": "int8",
        "training": {"images_seen": 234},
        "table": [
            {**ROW, "network": "teacher", "precision": "fp32", "score": 0.9339, "latency_ratio": 1.0},
            {**ROW, "network": "teacher", "precision": "int8", "score": 0.9335},
            {**ROW, "network": "student", "precision": "fp32", "score": 0.92, "latency_ratio_interval": [None, None]},
            {**ROW, "network": "student", "precision": "int8", "score": 0.9199, "latency_ratio": 0.148},
        ],
    },
}


def test_a_run_is_one_row_with_four_networks() -> None:
    row = table([("ResNet-56", DOCUMENT)]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["ResNet-56", "latency_ratio <= 0.15", "int8"]
    assert cells[4] == "93.35 % at 0.270 (0.268 to 0.272)"
    assert cells[5] == "92.00 % at 0.270"
    assert cells[6] == "**91.99 % at 0.148 (0.268 to 0.272)**"
    assert cells[7:] == ["3", "1,234"]


def test_a_network_that_could_not_be_measured_is_a_dash() -> None:
    rows = [row for row in DOCUMENT["precision"]["table"] if row["network"] == "student"]  # type: ignore[index]
    document = {**DOCUMENT, "precision": {**DOCUMENT["precision"], "table": rows}}  # type: ignore[dict-item]
    assert "| - | - |" in table([("ResNet-56", document)])
