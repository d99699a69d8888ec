"""The calibrate command on real files: what it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from deploycompress.calibration.layer_table import predict_ratio
from deploycompress.calibration.table_file import TableKey, load_table
from deploycompress.cli.boundary import Manner, run_guarded
from deploycompress.cli.calibrate import calibrate_command
from deploycompress.precision import Precision
from deploycompress.profile_files import load_profile
from deploycompress.surgery.shipped import shipped_form
from tests.build import start
from tests.calibration.networks import depthwise_net, wide_net

PROFILE = """# My board, bought in May.
schema = 1

[device]
title = "here"
arch = "x86_64"   # as uname says

[runtime]
providers = ["CPUExecutionProvider"]

[measure]
warmup_seconds = 0.01

[channels]
# assumed
quantum = 8

[[constraint]]
latency_ratio = 1.0
max = 0.5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPLOYCOMPRESS_CACHE", str(tmp_path / "cache"))
    Path("board.toml").write_text(PROFILE)
    Path("other.toml").write_text(PROFILE.replace("x86_64", "riscv64"))


def calibrate(*words: str) -> int:
    """Run the command as the program does, errors at its boundary included."""

    def run() -> int:
        with calibrate_command.make_context("calibrate", list(words)) as context:
            code = calibrate_command.invoke(context)
        return code if isinstance(code, int) else 0

    return run_guarded(run, manner=Manner.from_words(list(words)), words=list(words))


@pytest.mark.slow
def test_a_real_calibration_is_written_and_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    graph = wide_net()
    graph.save("model.onnx")
    assert calibrate("board.toml", "--model", "model.onnx", "--budget", "3m", "--json", "--quiet") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["profile"], document["out"]) == (1, "board", "board.calibrated.toml")
    assert {entry["kind"] for entry in document["staircases"]} == {"conv3x3", "gemm"}

    text = Path("board.calibrated.toml").read_text()
    assert "# My board, bought in May." in text
    assert "# as uname says" in text
    assert document["machine"]["id"] in text
    assert document["onnxruntime"] in text
    profile = load_profile("board.calibrated.toml")
    assert profile.channels.quantum == document["quantum"]
    assert profile.model_dump(exclude={"name", "channels"}) == load_profile("board.toml").model_dump(
        exclude={"name", "channels"}
    )

    path = Path(document["table"]["path"])
    assert path.is_relative_to(Path("cache").resolve())
    key = json.loads(path.read_text())["key"]
    stored = load_table(path, TableKey(**{**key, "providers": tuple(key["providers"])}))
    assert predict_ratio(stored.table, shipped_form(graph)) == pytest.approx(1, abs=0.5)

    assert calibrate("board.toml", "--model", "model.onnx") == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.slow
def test_another_precision_is_calibrated_into_its_own_table(capsys: pytest.CaptureFixture[str]) -> None:
    wide_net().save("model.onnx")
    words = ("--model", "model.onnx", "--precision", "int8", "--budget", "3m", "--json", "--quiet")
    assert calibrate("board.toml", *words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["precision"] == "int8"
    before, after = (load_profile(name).channels for name in ("board.toml", "board.calibrated.toml"))
    assert after.at(Precision.INT8).quantum == document["quantum"]
    assert after.at(Precision.INT8).quanta
    assert after.at(Precision.FP32) == before.at(Precision.FP32)
    key = json.loads(Path(document["table"]["path"]).read_text())["key"]
    assert key["precision"] == "int8"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["board.toml", "--model", "absent.onnx"], 3, "no model file"),
        (["bord.toml", "--model", "model.onnx"], 2, "bord.toml"),
        (["no-such-board", "--model", "model.onnx"], 2, "no profile"),
        (["board.toml"], 2, "--model"),
        (["board.toml", "--model", "model.onnx", "--precision", "int4"], 2, "int4"),
        (["board.toml", "--model", "model.onnx", "--precision", "int8", "--budget", "1s"], 2, "give at least"),
        (["board.toml", "--model", "model.onnx", "--budget", "5"], 2, "not a duration"),
        (["board.toml", "--model", "model.onnx", "--out", "mine"], 2, ".toml"),
        (["board.toml", "--model", "model.onnx", "--out", "nowhere/mine.toml"], 2, "no folder"),
        (["board.toml", "--model", "model.onnx", "--target", "telnet://board"], 2, "telnet"),
        (["board.toml", "--model", "model.onnx", "--target", "ssh://nobody@127.0.0.1:1"], 4, "127.0.0.1"),
        (["board.toml", "--model", "model.onnx", "--budget", "1s"], 2, "give at least"),
        (["other.toml", "--model", "model.onnx"], 4, "--allow-proxy"),
        (["board.toml", "--model", "rigid.onnx"], 3, "No channel of the model can be cut"),
    ],
)
def test_refusals_have_their_exit_codes(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    depthwise_net().save("model.onnx")
    net = start(0)
    net.finish(net.conv("x", 4), input_shape=(3, 8, 8)).save("rigid.onnx")
    assert calibrate(*words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert not list(Path().glob("*.calibrated.toml"))


def test_what_is_there_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    depthwise_net().save("model.onnx")
    Path("board.calibrated.toml").write_text("precious")
    assert calibrate("board.toml", "--model", "model.onnx") == 2
    assert "--force" in capsys.readouterr().err
    assert Path("board.calibrated.toml").read_text() == "precious"


def test_help_names_what_it_measures() -> None:
    result = CliRunner().invoke(calibrate_command, ["--help"])
    assert result.exit_code == 0
    assert "--model FILE" in result.output
    assert "channel quantum" in " ".join(result.output.split())
    assert isinstance(calibrate_command, click.Command)
    assert tomllib.loads(PROFILE)["channels"] == {"quantum": 8}
