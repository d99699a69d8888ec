"""A search that is killed and gone on with finds the same plans as one that is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploycompress.capturing.capture import capture
from deploycompress.errors import OutputError, UsageError
from deploycompress.pipeline.run import compress, resume
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

EVALUATIONS = 8
LONGEST_S = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    capture(trained_digits_net(width=64), input_shape=(1, 1, 8, 8)).save(path)
    return path


def command(model: Path, out: Path, engine: str) -> list[str]:
    # sizes and not latencies are limited: they are the same in every run, so the plans must be, too
    return [
        *(sys.executable, "-m", "deploycompress", "--profile", "x86", "--data", "digits#train", "--quiet"),
        *("--constraint", "params_ratio <= 0.6", "--constraint", "macs_ratio <= 0.9", "--search", engine),
        *("--evaluations", str(EVALUATIONS), "--epochs", "1", "--out", str(out), str(model)),
    ]


def plans(folder: Path) -> list[tuple[object, object]]:
    lines = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return [(line["plan"], line["climb"]) for line in lines]


@pytest.mark.parametrize(
    ("engine", "killed_after"), [("joint", 3), pytest.param("n2n", 3, marks=pytest.mark.slow), ("rl-pruner", 5)]
)
def test_killed_search_goes_on_with_the_same_plans(model: Path, tmp_path: Path, engine: str, killed_after: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(model, whole, engine), check=True, stdout=subprocess.DEVNULL, timeout=LONGEST_S)
    process = subprocess.Popen(command(model, killed, engine), stdout=subprocess.DEVNULL)
    until = time.monotonic() + LONGEST_S
    while not (killed / "trace.jsonl").exists() or len(plans(killed)) < killed_after:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.onnx").exists()
    with pytest.raises(OutputError, match="unfinished search; go on with it by 'deploycompress resume"):
        compress(model, profile="x86", data="digits#train", out=killed)
    result = resume(killed)
    assert result.met
    assert plans(killed) == plans(whole)
    expected = json.loads((whole / "result.json").read_text())
    assert result.document["plan"] == expected["plan"]
    assert result.document["student"]["accuracy"] == expected["student"]["accuracy"]
    assert not [path.name for path in killed.iterdir() if path.name in ("search.json", "run.json", "memory.jsonl")]


def test_nothing_to_go_on_with_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run to go on with: no run\.json"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"arch": "os:system"}, "arch 'os:system'"),
        ({"data": "mine:load"}, "data 'mine:load'"),
        ({"trust": True}, "trust"),
    ],
)
def test_run_that_names_code_must_be_trusted(tmp_path: Path, change: dict[str, object], named: str) -> None:
    asked = {"schema": 1, "source": "m.onnx", "profile": "x86", "data": "digits", "test_data": None, **change}
    (tmp_path / "run.json").write_text(json.dumps(asked))
    with pytest.raises(UsageError, match=f"loads code: {named}.*--trust"):
        resume(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 9}'])
def test_damaged_request_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json"):
        resume(tmp_path)
