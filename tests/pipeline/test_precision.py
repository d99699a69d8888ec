"""A whole run in 8 bits and one in 16, on a network really trained; figures recomputed by plain ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from deploycompress.errors import ModelError
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline import precision_table
from deploycompress.pipeline.result import Result
from deploycompress.pipeline.run import compress
from deploycompress.report.summary import render_summary
from deploycompress.train.data import load_data
from tests.digits import DigitsNet, trained_digits_net, unequal

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

QUICKLY = ("ship.starts=1", "ship.seconds=1", "quantization.finalists=2", "quantization.images=128")
LIMIT = "params_ratio <= 0.8"


@pytest.fixture(scope="module")
def teacher() -> DigitsNet:
    return trained_digits_net()


def _run(teacher: DigitsNet, precision: str, out: Path, *more: str) -> Result:
    return compress(
        teacher,
        profile="x86",
        data="digits#train",
        test_data="digits#test",
        precision=precision,
        constraints=(LIMIT,),
        input_shape=(1, 1, 8, 8),
        evaluations=3,
        epochs=5,
        settings=(*QUICKLY, *more),
        out=out,
    )


@pytest.fixture(scope="module")
def int8(teacher: DigitsNet, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return _run(teacher, "int8", tmp_path_factory.mktemp("int8") / "out")


@pytest.fixture(scope="module")
def fp16(teacher: DigitsNet, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return _run(teacher, "fp16", tmp_path_factory.mktemp("fp16") / "out")


def _accuracy(result: Result) -> float:
    test = load_data("digits#test")
    images = (test.images.astype(np.float32) * result.document["data"]["normalization"]["scale"]).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(result.model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    return float((logits.argmax(1) == test.labels).mean())


def test_what_ships_is_in_8_bits(int8: Result) -> None:
    model = onnx.load_from_string(int8.model)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in model.graph.node}
    kernels = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert kernels
    assert {tensor.data_type for tensor in kernels} == {onnx.TensorProto.INT8}
    assert int8.document["plan"]["precision"] == int8.document["precision"]["name"] == "int8"


def test_plain_onnx_runtime_reproduces_the_accuracy(int8: Result, fp16: Result) -> None:
    for result in (int8, fp16):
        assert result.document["student"]["accuracy"] == pytest.approx(_accuracy(result))
        assert _accuracy(result) > 0.85


def test_the_table_has_teacher_and_student_in_both_precisions(int8: Result, fp16: Result) -> None:
    for result, name in ((int8, "int8"), (fp16, "fp16")):
        rows = {(row["network"], row["precision"]): row for row in result.document["precision"]["table"]}
        assert set(rows) == {(network, one) for network in ("teacher", "student") for one in ("fp32", name)}
        assert rows["teacher", "fp32"]["score"] == result.document["teacher"]["accuracy"]
        assert rows["student", name]["score"] == result.document["student"]["accuracy"]
        assert rows["student", name]["file_bytes"] == len(result.model)
        assert rows["student", name]["file_bytes"] < rows["student", "fp32"]["file_bytes"]
        assert all(row["latency_ratio"] > 0 and row["evidence"]["latency_ratio"] == "measured" for row in rows.values())
        assert "teacher  " + name in render_summary(result.document)


def test_the_run_tells_how_it_came_to_8_bits(int8: Result) -> None:
    told = int8.document["precision"]
    assert told["ranges"] in ("min_max", "entropy", "percentile")
    assert told["calibration_images"] == 128
    assert told["training"]["steps"] > 0
    scores = told["validation"]
    assert (
        int8.document["score"]["validation"]
        == scores[scores["shipped"]]
        == max(scores["calibrated"], scores["trained"])
    )


def test_torch_computes_what_ships(int8: Result, fp16: Result) -> None:
    for result in (int8, fp16):
        assert 0 <= result.document["parity"]["lowered_relative_diff"] < 0.05


def test_half_precision_keeps_inputs_and_outputs_and_halves_the_weights(fp16: Result) -> None:
    model = onnx.load_from_string(fp16.model)
    ports = (*model.graph.input, *model.graph.output)
    assert {port.type.tensor_type.elem_type for port in ports} == {onnx.TensorProto.FLOAT}
    assert fp16.document["student"]["weights_bytes"] < 0.6 * 4 * fp16.document["student"]["params"]


def test_an_already_quantised_model_is_refused_with_what_to_do(int8: Result, tmp_path: Path) -> None:
    assert int8.out is not None
    with pytest.raises(ModelError, match="float"):
        compress(int8.out / "model.onnx", profile="x86", data="digits#train", constraints=(LIMIT,))


def test_auto_never_ships_what_is_slower_than_single_precision(teacher: DigitsNet, tmp_path: Path) -> None:
    result = _run(unequal(teacher), "auto", tmp_path / "out", "quantization.loss=0", "quantization.most_higher=1")
    rows = {(row["network"], row["precision"]): row["latency_ratio"] for row in result.document["precision"]["table"]}
    name = result.document["precision"]["name"]
    assert result.document["plan"].get("precision", "fp32") == name
    if name == "int8":
        assert rows["student", "int8"] < 1.1 * rows["student", "fp32"]  # noise between two measurements
    quantised = {
        tensor.name for tensor in onnx.load_from_string(result.model).graph.initializer if tensor.data_type == 3
    }
    assert bool(quantised) == (name == "int8")


def test_a_metric_in_other_units_leaves_training_in_8_bits_its_chance(
    teacher: DigitsNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "percent.py").write_text(
        "def right(outputs, labels):\n    return 100.0 * (outputs.argmax(1) == labels).mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = compress(
        teacher, profile="x86", data="digits#train", metric="percent:right", precision="int8", constraints=(LIMIT,),
        input_shape=(1, 1, 8, 8), evaluations=2, epochs=2,
        settings=(*QUICKLY, "training.adaptive=true", "training.peak_rate=0.003"),
    )  # fmt: skip
    scores = result.document["precision"]["validation"]
    assert 0.5 < scores["calibrated"] < 1.5, "relative to the teacher, as training judges"
    assert scores["shipped"] == ("trained" if scores["trained"] >= scores["calibrated"] else "calibrated")


def test_a_comparison_that_cannot_be_measured_costs_a_row_and_not_the_result(
    teacher: DigitsNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> Measurement:
        raise FailedMeasurementError(FailureKind.INCONCLUSIVE, "something else uses the machine")

    monkeypatch.setattr(precision_table, "measure_beside", busy)
    result = _run(teacher, "int8", tmp_path / "out")
    assert result.out is not None
    assert (result.out / "model.onnx").exists()
    rows = {(row["network"], row["precision"]) for row in result.document["precision"]["table"]}
    assert rows == {("teacher", "fp32"), ("student", "int8")}
