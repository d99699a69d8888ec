"""The inspect command on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploycompress.cli.main import main
from tests.build import residual_net


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    residual_net().save("model.onnx")


def test_json_is_all_that_standard_output_gets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--profile", "x86", "--json", "model.onnx"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["model"], document["profile"]) == (1, "model.onnx", "x86")
    shares = [node["share"] for node in document["nodes"] if node["share"] is not None]
    assert sum(shares) + document["latency"]["other"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "reason"),
    [([], "no --profile was given"), (["--profile", "x86", "--no-measure"], "--no-measure was given")],
)
def test_without_measuring_the_page_says_why(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *words, "model.onnx"]) == 0
    out = capsys.readouterr().out
    assert f"Latency: {reason}\n" in out
    assert "Channel groups: 6" in out
    assert "Blocks: " in out
    assert "Kernels: 7" in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["absent.onnx"], 3, "no model file 'absent.onnx'"),
        (["."], 3, "is a folder"),
        (["damaged.onnx"], 3, "damaged"),
        (["--profile", "x68", "model.onnx"], 2, "did you mean 'x86'"),
        (["--arch", "m:f", "model.onnx"], 2, "--arch"),
        (["--input-shape", "3", "model.onnx"], 2, "not a shape"),
        (["model.onnx", "model.onnx"], 2, "One model file"),
        ([], 2, "model file is missing"),
        (["--profile", "jetson", "model.onnx"], 4, "ExecutionProvider"),
    ],
)
def test_refusals_have_their_exit_codes(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("damaged.onnx").write_bytes(Path("model.onnx").read_bytes()[:200])
    assert main(["inspect", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("error: ")


def test_trust_cannot_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploycompress import save_pt2

    save_pt2(residual_net(), tmp_path / "net.pt2")
    monkeypatch.setenv("DEPLOYCOMPRESS_TRUST", "1")
    assert main(["inspect", "net.pt2"]) == 3
    assert "--trust" in capsys.readouterr().err
    assert main(["inspect", "--trust", "net.pt2"]) == 0
    assert "Channel groups: 6" in capsys.readouterr().out
