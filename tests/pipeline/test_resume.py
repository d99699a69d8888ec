"""A search that is killed and gone on with finds the same plans as one that is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploycompress.capturing.capture import capture
from deploycompress.errors import OutputError, UsageError
from deploycompress.pipeline.result import Result
from deploycompress.pipeline.run import compress, resume
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

EVALUATIONS = 8
LONGEST_S = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    capture(trained_digits_net(width=64, steps=100), input_shape=(1, 1, 8, 8)).save(path)
    return path


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search whose plans must be the same in every run: sizes and not latencies are limited."""

    engine: str
    params_ratio: float = 0.6
    settings: tuple[str, ...] = ()

    @property
    def assignments(self) -> tuple[str, ...]:
        return *self.settings, "ship.starts=1", "ship.seconds=1"

    @property
    def constraints(self) -> tuple[str, ...]:
        return f"params_ratio <= {self.params_ratio}", "macs_ratio <= 0.9"

    def compress(self, model: Path, out: Path) -> Result:
        return compress(
            model,
            profile="x86",
            data="digits#train",
            constraints=self.constraints,
            search=self.engine,
            settings=self.assignments,
            evaluations=EVALUATIONS,
            epochs=1,
            out=out,
        )

    def command(self, model: Path, out: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "deploycompress", "--profile", "x86", "--data", "digits#train", "--quiet"),
            *(word for row in self.constraints for word in ("--constraint", row)),
            *(word for setting in self.assignments for word in ("--set", setting)),
            *("--search", self.engine, "--evaluations", str(EVALUATIONS), "--epochs", "1", "--out", str(out)),
            str(model),
        ]


TWO_STEPS = ("search.steps=2", "search.stages=1", "search.samples=3")
"""RL-Pruner asks about three students, goes on from one of them, and asks about smaller ones."""


def plans(folder: Path) -> list[tuple[object, object]]:
    lines = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return [(line["plan"], line["climb"]) for line in lines]


def evaluated(folder: Path) -> int:
    return (folder / "trace.jsonl").read_bytes().count(b"\n")


@pytest.mark.parametrize(
    ("search", "killed_after"),
    [
        pytest.param(Search(engine="joint"), 3, id="joint"),
        pytest.param(Search(engine="n2n"), 3, id="n2n", marks=pytest.mark.slow),
        pytest.param(
            Search(engine="rl-pruner", params_ratio=0.4, settings=TWO_STEPS), 5, id="rl-pruner", marks=pytest.mark.slow
        ),
    ],
)
def test_killed_search_goes_on_with_the_same_plans(
    model: Path, tmp_path: Path, search: Search, killed_after: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = search.compress(model, whole).document
    assert len(plans(whole)) > killed_after
    process = subprocess.Popen(search.command(model, killed), stdout=subprocess.DEVNULL)
    until = time.monotonic() + LONGEST_S
    while not (killed / "trace.jsonl").exists() or evaluated(killed) < killed_after:
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
    assert result.document["plan"] == expected["plan"]
    assert result.document["student"]["accuracy"] == expected["student"]["accuracy"]
    assert result.document["artifacts"] == expected["artifacts"]
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
