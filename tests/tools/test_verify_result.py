"""The independent verifier agrees with true figures and objects to false ones."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "verify_result.py"
CLASSES, SIZE = 3, 12


def _linear_classifier(weight: np.ndarray[Any, Any], *, repeats: int = 1) -> onnx.ModelProto:
    """Flatten, some expensive identity products, then logits = pixels @ weight."""
    nodes = [helper.make_node("Flatten", ["images"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "identity"], [f"h{i + 1}"]) for i in range(repeats)]
    nodes.append(helper.make_node("MatMul", [f"h{repeats}", "weight"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [
            numpy_helper.from_array(np.eye(SIZE * SIZE, dtype=np.float32), "identity"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    """Write a model, its test data and a true result.json; return the record."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((SIZE * SIZE, CLASSES)).astype(np.float32)
    images = generator.integers(0, 256, (501, SIZE, SIZE, 1), dtype=np.uint8)
    normalize = {"name": "0.5/0.25", "scale": 1 / 255, "mean": [0.5], "std": [0.25]}
    answers = (((images.reshape(501, -1) / 255.0) - 0.5) / 0.25 @ weight).argmax(1)
    labels = np.where(np.arange(501) < 400, answers, (answers + 1) % CLASSES)
    onnx.save(_linear_classifier(weight), tmp_path / "model.onnx")
    onnx.save(_linear_classifier(weight, repeats=40), tmp_path / "teacher.onnx")
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    record = {
        "data": {"accuracy_split": "test", "normalization": normalize},
        "student": {"accuracy": 400 / 501},
        "ratio": {"latency": 0.5},
    }
    (tmp_path / "result.json").write_text(json.dumps(record))
    return record


def _verify(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), *words, "--test-data", str(folder / "test.npz")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.usefixtures("result")
def test_a_true_accuracy_is_confirmed(tmp_path: Path) -> None:
    done = _verify(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"found {100 * 400 / 501:.3f} %" in done.stdout


@pytest.mark.parametrize("wrong", [400 / 501 + 0.0012, 400 / 501 - 0.0012])
def test_an_accuracy_that_is_off_by_more_than_a_tenth_of_a_point_is_not(
    tmp_path: Path, result: dict[str, Any], wrong: float
) -> None:
    result["student"]["accuracy"] = wrong
    (tmp_path / "result.json").write_text(json.dumps(result))
    done = _verify(tmp_path)
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout


def test_a_wrong_normalisation_is_noticed(tmp_path: Path, result: dict[str, Any]) -> None:
    result["data"]["normalization"]["mean"] = [0.0]
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert _verify(tmp_path).returncode == 1


@pytest.mark.usefixtures("result")
def test_a_latency_ratio_that_is_far_off_is_noticed(tmp_path: Path) -> None:
    done = _verify(tmp_path, str(tmp_path / "teacher.onnx"))
    assert done.returncode == 1  # one product instead of forty does not take half the time
    assert "latency ratio  found 0." in done.stdout


def test_the_ratio_of_a_model_to_itself_is_one(tmp_path: Path, result: dict[str, Any]) -> None:
    result["ratio"]["latency"] = 1.0
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "model.onnx").write_bytes((tmp_path / "teacher.onnx").read_bytes())
    done = _verify(tmp_path, str(tmp_path / "teacher.onnx"))
    assert done.returncode == 0, done.stdout


def test_it_shares_no_code_with_the_package() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}
