"""The compare command on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploycompress.cli.main import main
from tests.cli.gate_models import SOON, lay_out

HERE = ["--profile", "here.toml", *SOON]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [("slow.onnx", "fast.onnx", "times as fast as"), ("fast.onnx", "slow.onnx", "times as long as")],
)
def test_very_different_models_are_told_apart(
    first: str, second: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *HERE, "--json", first, second]) == 0
    document = json.loads(capsys.readouterr().out)
    low, high = document["interval"]
    assert low <= document["ratio"] <= high
    assert document["different"] is True
    assert (document["ratio"] < 0.5) == (first == "slow.onnx")
    assert document["words"].startswith(f"{second} ")
    assert word in document["words"]


def test_the_page_says_it_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *HERE, "slow.onnx", "fast.onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "times as fast as slow.onnx." in lines[0]
    assert lines[1].startswith("ratio 0.")
    assert "2 starts" in lines[2]


def test_a_model_and_itself_are_named_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *HERE, "--json", "fast.onnx", "fast.onnx"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["first"], document["second"]) == ("fast.onnx", "fast.onnx (2)")
    assert document["ratio"] == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(
    ("words", "code"), [(["fast.onnx"], 2), (["fast.onnx", "absent.onnx"], 3), (["a.onnx", "b.onnx", "c.onnx"], 2)]
)
def test_refusals_have_their_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *HERE, *words]) == code
    assert capsys.readouterr().out == ""
