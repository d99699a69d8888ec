"""A calibration as people read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from deploycompress.calibration.fit import PredictionError
from deploycompress.calibration.layer_table import LayerCost, LayerTable, RunModel
from deploycompress.calibration.table_file import StoredTable
from deploycompress.pipeline.calibration_document import calibration_document
from deploycompress.profile import ChannelSteps
from deploycompress.report.calibration import calibration_lines
from tests.calibration.test_table_file import KEY
from tests.pipeline.test_calibrated_profile import calibration

TABLE = StoredTable(
    key=KEY,
    table=LayerTable(
        quanta=ChannelSteps(),
        layers={},
        other=LayerCost(unit=(1.0,) * 4, cost_us=(0.0,) * 4),
        run=RunModel(),
        teacher_ms=1.0,
    ),
    error=PredictionError(errors=(0.01, -0.02, 0.031)),
    profile="board",
    made="2026-11-21",
)


def test_every_staircase_and_the_tables_error_are_shown() -> None:
    found = replace(calibration(), table=TABLE, table_path=Path("cache/t.json"), students=3, without_rule=("LSTM",))
    document = calibration_document(found, profile="board", model="net.onnx", out=Path("board.calibrated.toml"))
    assert json.loads(json.dumps(document)) == document
    text = "\n".join(calibration_lines(document))
    for part in (
        "Machine feed",
        "ONNX Runtime 1.31.1, fp32, evidence measured",
        "conv3x3, input: steps of 16\n  width        8      16\n  ms       1.000   2.000",
        "conv1x1, input: inconclusive, the profile's quantum stays",
        "No staircase is known for LSTM.",
        "Channel quantum in fp32: 16",
        "error on unseen ones 2.0% in the median, 3.1% at worst: cache/t.json",
        "Calibrated profile: board.calibrated.toml",
    ):
        assert part in text
    assert document["table"]["evidence"] == "analytic"


def test_a_missing_table_is_said() -> None:
    document = calibration_document(calibration(), profile="board", model="net.onnx", out=Path("o.toml"))
    assert document["table"] is None
    assert "Latency table: none" in "\n".join(calibration_lines(document))
