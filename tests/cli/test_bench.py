"""The bench command on real files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import onnx
import pytest

from deploycompress.cli.main import main
from tests.cli.gate_models import SOON, lay_out, network

HERE = ["--profile", "here.toml", *SOON]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)


def test_json_has_every_figure_of_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *HERE, "--json", "--nodes", "slow.onnx", "fast.onnx"]) == 0
    document = json.loads(capsys.readouterr().out)
    slow, fast = document["models"]
    assert (document["schema"], document["profile"], document["evidence"]) == (1, "here", "measured")
    assert [slow["name"], fast["name"]] == ["slow.onnx", "fast.onnx"]
    assert (slow["ratio"], slow["ratio_interval"]) == (None, None)
    assert fast["ratio"] < fast["ratio_interval"][1] < 0.5
    for model in (slow, fast):
        low, high = model["median_interval_ms"]
        assert 0 < low <= model["median_ms"] <= high
        assert model["median_ms"] <= model["latency_ms"]
        assert (model["starts"], model["samples"] >= 64) == (2, True)
        assert min(model[key] for key in ("throughput_per_s", "load_ms", "first_run_ms", "activation_peak_bytes")) > 0
        assert model["peak_rss_bytes"] >= 0
        assert model["file_bytes"] == Path(model["name"]).stat().st_size
        assert {node["op"] for node in model["nodes"]["times"]} <= {"Conv", "Relu"}
        total_ms = sum(node["ms"] for node in model["nodes"]["times"])
        shares = 1 - sum(model["nodes"]["other"].values())
        assert total_ms == pytest.approx(shares * model["nodes"]["kernels_ms"])
    assert slow["throughput_per_s"] < fast["throughput_per_s"]


def test_page_and_csv_tell_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *HERE, "--csv", "bench.csv", "--baseline", "slow.onnx", "fast.onnx"]) == 0
    page = capsys.readouterr().out
    with Path("bench.csv").open() as stream:
        slow, fast = csv.DictReader(stream)
    assert (slow["model"], slow["ratio"], fast["model"]) == ("slow.onnx", "", "fast.onnx")
    line = next(line for line in page.splitlines() if line.startswith("ratio to the first"))
    assert line.split()[-2:] == ["-", f"{float(fast['ratio']):.4f}"]
    assert float(fast["ratio_low"]) <= float(fast["ratio"]) <= float(fast["ratio_high"])


def test_torch_files_are_measured_as_they_would_ship(capsys: pytest.CaptureFixture[str]) -> None:
    from deploycompress import save_pt2

    save_pt2(network(8), "fast.pt2")
    assert main(["bench", *HERE, "--trust", "--json", "fast.pt2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"][0]["name"] == "fast.pt2"
    assert document["models"][0]["median_ms"] > 0


def test_open_axes_need_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load("fast.onnx")
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, "open.onnx")
    assert main(["bench", *HERE, "--json", "open.onnx"]) == 2
    assert "--input-shape" in capsys.readouterr().err
    assert main(["bench", *HERE, "--json", "--nodes", "--input-shape", "1,3,24,24", "open.onnx", "slow.onnx"]) == 0
    names = [model["name"] for model in json.loads(capsys.readouterr().out)["models"]]
    assert names == ["open.onnx", "slow.onnx"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["bench", "--profile", "here.toml"], 2, "MODEL"),
        (["bench", "--profile", "here.toml", "absent.onnx"], 3, "no model file 'absent.onnx'"),
        (["bench", "--profile", "here.toml", "damaged.onnx"], 3, "is no ONNX model"),
        (["bench", "fast.onnx"], 2, "--profile"),
        (["bench", "--profile", "here.toml", "--starts", "0", "fast.onnx"], 2, "--starts"),
        (["bench", "--profile", "here.toml", "--csv", "mine.csv", "fast.onnx"], 2, "not written by this program"),
        (["bench", "--profile", "here.toml", "--target", "moon", "fast.onnx"], 2, "moon"),
        (["bench", "--profile", "jetson", "fast.onnx"], 4, "ExecutionProvider"),
    ],
)
def test_refusals_have_their_exit_codes(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("damaged.onnx").write_bytes(b"no protobuf at all")
    Path("mine.csv").write_text("a,b\n1,2\n")
    assert main(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert Path("mine.csv").read_text() == "a,b\n1,2\n"
