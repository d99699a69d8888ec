"""The compress command up to the pipeline, and what becomes of the pipeline's result."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploycompress.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in an empty folder that holds a model file and some data."""
    monkeypatch.chdir(tmp_path)
    Path("model.pt").write_bytes(b"not looked into before the pipeline")
    np.savez("train-0.npz", images=np.zeros((1, 8, 8, 1), np.uint8), labels=np.zeros(1, np.int64))

    def run_main(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--profile", "x86", "absent.pt"], 3, "no model file 'absent.pt'"),
        (["--profile", "x86", "proflies"], 3, "did you mean the command 'profiles'"),
        (["--profile", "x86", "."], 3, "is a folder"),
        (["--profile", "x86", "empty.pt"], 3, "is empty"),
        (["--profile", "x68", "model.pt"], 2, "did you mean 'x86'"),
        (["--profile", "./absent.toml", "model.pt"], 2, "absent.toml"),
        (["model.pt"], 2, "--profile"),
        (["--profile", "x86"], 2, "model file is missing"),
        (["--profile", "x86", "model.pt", "train-1.npz"], 2, "quote it"),
        (["--profile", "x86", "--constraint", "latency <= 1", "model.pt"], 2, "unknown metric 'latency'"),
        (["--profile", "x86", "--constraint", "latency_ms", "model.pt"], 2, "not of the form"),
        (["--profile", "x86", "--data", "absent-*.npz", "model.pt"], 2, "matches 'absent-*.npz'"),
        (["--profile", "x86", "--test-data", "./absent", "model.pt"], 2, "--test-data"),
        (["--profile", "x86", "--budget", "15", "model.pt"], 2, "with its unit"),
        (["--profile", "x86", "--input-shape", "3", "model.pt"], 2, "not a shape"),
        (["--profile", "x86", "--epochs", "0", "model.pt"], 2, "epochs"),
        (["--profile", "x86", "--out", "model.pt", "model.pt"], 2, "is a file"),
        (["--profile", "x86", "--out", "taken", "model.pt"], 2, "--force"),
        (["--profle", "x86", "model.pt"], 2, "--profile"),
    ],
)
def test_a_request_that_cannot_work_is_refused_in_one_sentence(
    run: Run, words: list[str], code: int, message: str
) -> None:
    Path("empty.pt").touch()
    Path("taken").mkdir()
    Path("taken/result.json").write_text("{}")
    before = sorted(Path().rglob("*"))
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert re.fullmatch(r"error: [^\n]+\n", err)
    assert message in err
    assert sorted(Path().rglob("*")) == before
    assert "error" in json.loads(run("--json", *words)[1])


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run: Run) -> None:
    before = sorted(Path().rglob("*"))
    code, out, _ = run(
        *("--profile", "x86", "--budget", "15m", "--data", "train-*.npz", "--dry-run", "--json", "model.pt"),
        *("--constraint", "latency_ratio <= 0.75"),
    )
    described = json.loads(out)["dry_run"]
    assert code == 0
    assert described["constraints"] == ["latency_ratio <= 0.75"]
    assert described["budget_s"] == 900
    assert described["would_write"] == [
        str(Path("model-x86", name)) for name in ("model.onnx", "result.json", "trace.jsonl")
    ]
    assert sorted(Path().rglob("*")) == before


def test_a_dry_run_imports_nothing_heavy(run: Run) -> None:
    code = (
        "import sys; from deploycompress.cli.main import main\n"
        "assert main(['--profile', 'x86', '--dry-run', 'model.pt']) == 0\n"
        "sys.exit(not {'torch', 'onnxruntime'}.isdisjoint(sys.modules))"
    )
    assert run("--profile", "x86", "--dry-run", "model.pt")[0] == 0
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": root}, check=False, capture_output=True)
    assert done.returncode == 0


def test_options_come_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOYCOMPRESS_PROFILE", "x86")
    monkeypatch.setenv("DEPLOYCOMPRESS_CONSTRAINT", "latency_ratio <= 0.5; params <= 1000")
    monkeypatch.setenv("DEPLOYCOMPRESS_JSON", "1")
    monkeypatch.setenv("DEPLOYCOMPRESS_SEED", "7")
    described = json.loads(run("--dry-run", "model.pt")[1])["dry_run"]
    assert [text.strip() for text in described["constraints"]] == ["latency_ratio <= 0.5", "params <= 1000"]
    assert described["seed"] == 7


class _Pipeline(ModuleType):
    """Stands where the pipeline stands, to see what it is given: the pipeline itself has tests of its own."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__("deploycompress.pipeline.run")
        self.given: dict[str, Any] = {}
        self.rows = rows

    def compress(self, source: Path, **given: Any) -> SimpleNamespace:
        self.given = {"source": source, **given}
        print("a library that talks")  # noqa: T201
        given["progress"].warning("near chance")
        return SimpleNamespace(document={"profile": "x86", "constraints": self.rows}, out=given["out"])


def _install(monkeypatch: pytest.MonkeyPatch, *oks: bool | None) -> _Pipeline:
    verdicts = {True: "pass", False: "fail", None: "inconclusive"}
    pipeline = _Pipeline(
        [
            {
                "expression": "macs <= 10",
                "value": 9.0,
                "max": 10.0,
                "ok": ok,
                "verdict": verdicts[ok],
                "evidence": "analytic",
            }
            for ok in oks
        ]
    )
    monkeypatch.setitem(sys.modules, "deploycompress.pipeline.run", pipeline)
    return pipeline


def test_what_was_asked_for_reaches_the_pipeline(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    policy = tmp_path / "policy.safetensors"
    policy.write_bytes(b"read by the pipeline")
    monkeypatch.setenv("DEPLOYCOMPRESS_TRUST", "1")
    monkeypatch.setenv("DEPLOYCOMPRESS_FORCE", "1")
    monkeypatch.setenv("DEPLOYCOMPRESS_ALLOW", "os:system")
    pipeline = _install(monkeypatch)
    code, out, err = run(
        *("--profile", "x86", "--data", "digits#train", "--test-data", "digits#test", "--normalize", "unit"),
        *("--metric", "shapes:iou", "--precision", "int8"),
        *("--constraint", "params <= 10", "--constraint", "macs <= 10", "--budget", "1h30m", "--evaluations", "3"),
        *("--epochs", "2", "--input-shape", "1,1,8,8", "--arch", "m:f", "--seed", "5", "--quiet", "--out", "o"),
        *("--target", "ssh://pi@board", "--set", "search.rollouts=4", "--policy", str(policy), "--json", "model.pt"),
    )
    given = pipeline.given
    assert code == 0
    assert json.loads(out) == {"profile": "x86", "constraints": []}
    assert err == "a library that talks\nwarning: near chance\n"
    assert given.pop("progress") is not None
    assert given == {
        "source": Path("model.pt"),
        "profile": "x86",
        "data": "digits#train",
        "test_data": "digits#test",
        "normalize": "unit",
        "metric": "shapes:iou",
        "precision": "int8",
        "constraints": ("params <= 10", "macs <= 10"),
        "search": "joint",
        "policy": policy,
        "settings": ("search.rollouts=4",),
        "budget": 5400.0,
        "evaluations": 3,
        "epochs": 2,
        "input_shape": (1, 1, 8, 8),
        "targets": ("ssh://pi@board",),
        "arch": "m:f",
        "trust": False,
        "allow": (),
        "out": Path("o"),
        "force": False,
        "seed": 5,
    }


@pytest.mark.parametrize(("oks", "expected"), [((True, False, None), 1), ((True, None), 4), ((True,), 0)])
def test_the_exit_code_is_that_of_the_worst_constraint_and_a_summary_comes_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch, oks: tuple[bool | None, ...], expected: int
) -> None:
    pipeline = _install(monkeypatch, *oks)
    code, out, _ = run("--profile", "x86", "--trust", "--force", "--allow", "m:C", "model.pt")
    assert code == expected
    assert str(Path("model-x86", "result.json")) in out
    assert (pipeline.given["trust"], pipeline.given["force"], pipeline.given["allow"]) == (True, True, ("m:C",))
    assert pipeline.given["constraints"] is None


def test_every_help_page_shows_an_example_before_its_options(run: Run) -> None:
    for words in ([], ["compress"], ["inspect"], ["profiles"], ["profiles", "list"], ["profiles", "show"]):
        code, out, _ = run(*words, "--help")
        assert code == 0
        assert 0 < out.index("Examples:") < out.index("Options:")
    for words in ([], ["compress"], ["inspect"]):
        out = run(*words, "--help")[1]
        assert all(re.search(rf"^ +{code} ", out, re.MULTILINE) for code in (0, 1, 2, 3, 4, 5, 130))
