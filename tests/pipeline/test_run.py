"""The whole way on a network really trained, with the real runtime; figures recomputed by plain ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deploycompress.errors import ConstraintError, DataError, OutputError, UsageError
from deploycompress.pipeline.pictures import draw_search
from deploycompress.pipeline.result import Result
from deploycompress.pipeline.run import compress
from deploycompress.train.data import load_data
from tests.digits import DigitsNet, trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

QUICKLY = ("ship.starts=1", "ship.seconds=1")
CONSTRAINTS = ("params_ratio <= 0.8", "latency_ratio <= 1.5")


@pytest.fixture(scope="module")
def teacher() -> DigitsNet:
    return trained_digits_net()


@pytest.fixture(scope="module")
def result(teacher: DigitsNet, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return compress(
        teacher,
        profile="x86",
        data="digits#train",
        test_data="digits#test",
        constraints=CONSTRAINTS,
        input_shape=(1, 1, 8, 8),
        evaluations=4,
        epochs=2,
        out=tmp_path_factory.mktemp("run") / "out",
    )


def test_constraints_are_met_on_what_ships(result: Result) -> None:
    assert result.met
    rows = {row["expression"]: row for row in result.document["constraints"]}
    assert set(rows) == set(CONSTRAINTS)
    assert rows["params_ratio <= 0.8"]["value"] <= 0.8
    assert rows["params_ratio <= 0.8"]["evidence"] == "analytic"
    assert rows["latency_ratio <= 1.5"]["evidence"] == "measured"


def test_latencies_of_one_table_come_from_one_run(result: Result) -> None:
    document = result.document
    quotient = document["student"]["latency_ms"]["p50"] / document["teacher"]["latency_ms"]["p50"]
    # The ratio is the median over rounds, the quotient that of two medians: alike where both come from the same rounds.
    assert quotient == pytest.approx(document["ratio"]["latency"], rel=0.1)


def test_files_hold_what_the_result_says(result: Result) -> None:
    assert result.out is not None
    assert json.loads((result.out / "result.json").read_text()) == json.loads(json.dumps(result.document))
    assert (result.out / "model.onnx").read_bytes() == result.model


def test_plain_onnx_runtime_reproduces_the_test_accuracy(result: Result) -> None:
    test = load_data("digits#test")
    scale = result.document["data"]["normalization"]["scale"]
    images = (test.images.astype(np.float32) * scale).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(result.model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    assert result.document["data"]["accuracy_split"] == "test"
    assert result.document["student"]["accuracy"] == pytest.approx((logits.argmax(1) == test.labels).mean())
    assert result.document["student"]["accuracy"] > 0.85


def test_shipped_graph_has_the_parameters_it_claims_and_no_batch_norm(result: Result) -> None:
    model = onnx.load_from_string(result.model)
    counted = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.data_type == 1)
    assert result.document["student"]["params"] == counted
    assert result.document["student"]["params"] < result.document["teacher"]["params"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    stamp = result.document["artifacts"]["model.onnx"]
    assert (stamp["opset"], stamp["ir_version"]) == (model.opset_import[0].version, model.ir_version)


def test_widths_are_multiples_of_the_quantum(result: Result) -> None:
    quantum = result.document["search"]["channel_quantum"]
    plan = result.document["plan"]
    assert plan["keep"] or plan["remove"]
    assert all(len(kept) % quantum == 0 for kept in plan["keep"].values())


def test_report_says_what_was_searched_and_where_time_went(result: Result) -> None:
    search = result.document["search"]
    assert (search["engine"], search["evaluations_allowed"]) == ("joint", 4)
    assert 1 <= search["evaluations"] <= 4
    assert {"slim", "measure", "recover", "accuracy", "climb", "score"} <= set(search["seconds_by_stage"])
    assert result.document["parity"]["oracle_max_abs_diff"] < 1e-4
    assert result.document["parity"]["torch_vs_ort_max_abs_diff"] < 1e-3


def test_trace_has_a_line_for_every_evaluation(result: Result) -> None:
    assert result.out is not None
    lines = [json.loads(line) for line in (result.out / "trace.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(result.document["search"]["evaluations"]))
    assert all({"plan", "reward", "accuracy", "measurement", "seconds"} <= line.keys() for line in lines)
    assert result.document["plan"] in [line["plan"] for line in lines]


def test_files_of_an_unfinished_search_are_gone(result: Result) -> None:
    assert result.out is not None
    names = {path.name for path in result.out.iterdir()}
    assert names == {"model.onnx", "result.json", "trace.jsonl", "space.json", "policy.safetensors"}


@pytest.mark.slow
def test_policy_of_one_run_starts_another(result: Result, teacher: DigitsNet, tmp_path: Path) -> None:
    assert result.out is not None
    refuse(teacher, tmp_path / "out", constraints=CONSTRAINTS, policy=result.out / "policy.safetensors", search="n2n")
    assert (tmp_path / "out" / "policy.safetensors").is_file()


def test_search_can_be_drawn(result: Result, tmp_path: Path) -> None:
    assert result.out is not None
    drawn = draw_search(result.out, tmp_path / "plots")
    assert {path.name for path in drawn} == {"reward.png", "front.png", "sparsity.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    with pytest.raises(UsageError, match="holds no search"):
        draw_search(tmp_path, tmp_path / "plots")


@pytest.mark.parametrize("engine", ["rl-pruner", pytest.param("greedy", marks=pytest.mark.slow)])
def test_other_engines_ship_as_well(teacher: DigitsNet, tmp_path: Path, engine: str) -> None:
    refuse(teacher, tmp_path / "out", constraints=["params_ratio <= 0.7"], search=engine, evaluations=3)
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["search"]["engine"] == engine
    assert document["ratio"]["params"] <= 0.7


def refuse(teacher: DigitsNet, out: Path, **options: object) -> None:
    settings = {
        "profile": "x86",
        "data": "digits#train",
        "input_shape": (1, 1, 8, 8),
        "evaluations": 2,
        "epochs": 1,
        "settings": QUICKLY,
        "out": out,
        **options,
    }
    compress(teacher, **settings)  # type: ignore[arg-type]  # each test gives one option another type of value


def test_impossible_constraint_is_named_with_how_close_it_gets(teacher: DigitsNet, tmp_path: Path) -> None:
    with pytest.raises(ConstraintError, match=r"params_ratio <= 0\.001.*smallest"):
        refuse(teacher, tmp_path / "out", constraints=["params_ratio <= 0.001"])
    assert not (tmp_path / "out").exists()


def test_met_constraints_ship_the_teacher_untouched(teacher: DigitsNet, tmp_path: Path) -> None:
    refuse(teacher, tmp_path / "out", constraints=["params_ratio <= 1.0"])
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["plan"] == {"schema": 1, "remove": [], "keep": {}, "kernels": {}}
    assert document["search"]["winner"] == "teacher"
    assert document["training"]["steps"] == 0
    assert document["ratio"]["params"] == 1.0
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = teacher(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: x})[0], expected, rtol=1e-4, atol=1e-5)


def test_missing_data_and_unknown_engine_are_refused(teacher: DigitsNet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        refuse(teacher, tmp_path / "out", data="missing.npz")
    with pytest.raises(UsageError, match="'magic'"):
        refuse(teacher, tmp_path / "out", search="magic")
    assert not (tmp_path / "out").exists()


def test_only_cost_can_be_searched_for(teacher: DigitsNet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="limits what the network costs"):
        refuse(teacher, tmp_path / "out", constraints=["accuracy >= 0.5"])


def test_test_data_must_be_held_out_and_of_the_same_form(teacher: DigitsNet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held out"):
        refuse(teacher, tmp_path / "out", test_data="digits#train")
    np.savez(tmp_path / "floats", images=np.zeros((20, 8, 8, 1), np.float32), labels=np.arange(20) % 10)
    with pytest.raises(DataError, match="float32"):
        refuse(teacher, tmp_path / "out", test_data=str(tmp_path / "floats.npz"))


def test_taken_folder_is_refused_before_any_work(teacher: DigitsNet, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"holds model\.onnx already"):
        refuse(teacher, tmp_path, data="does-not-exist.npz")
    assert (tmp_path / "model.onnx").read_bytes() == b"mine"
