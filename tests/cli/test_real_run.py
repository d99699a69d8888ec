"""The command as an engineer runs it: real files, a real search, exit codes, and nothing left behind on failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deploycompress.capturing.capture import capture
from tests.cli.quickly import QUICKLY
from tests.digits import trained_digits_net
from tests.shared import ROOT

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

Done = subprocess.CompletedProcess[str]
CUT = ("--constraint", "params_ratio <= 0.8")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    net = trained_digits_net()
    capture(net, input_shape=(1, 1, 8, 8), max_opset=17, max_ir=8).save(folder / "digits.onnx")
    torch.save(net.state_dict(), folder / "digits.pt")
    return folder / "digits.onnx"


def run(model: Path, out: Path, *options: str, data: str | None = "digits#train") -> Done:
    command = [sys.executable, "-m", "deploycompress", "--profile", "x86", "--out", str(out)]
    command += ["--data", data] if data else []
    command += [*QUICKLY, "--evaluations", "2", "--epochs", "1", *options, str(model)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def assert_refused(done: Done, out: Path, code: int, culprit: str) -> None:
    assert done.returncode == code, done.stderr
    error = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert culprit in error[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not out.exists()


def test_state_dict_takes_its_input_shape_from_the_data(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(teacher.with_suffix(".pt"), out, *CUT, "--arch", "tests.digits:DigitsNet", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((out / "result.json").read_text())
    assert document["student"]["params"] <= 0.8 * document["teacher"]["params"]
    assert "search" in done.stderr
    model = (out / "model.onnx").read_bytes()
    again = run(teacher, out, *CUT)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert (out / "model.onnx").read_bytes() == model


def test_summary_is_on_stdout_and_unmet_constraints_exit_one(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(teacher, out, *CUT, "--constraint", "accuracy >= 1.01", "--test-data", "digits#test")
    assert done.returncode == 1, done.stderr
    assert "1 of 2 constraints NOT met" in done.stdout
    assert "accuracy (test)" in done.stdout
    assert (out / "model.onnx").is_file()


@pytest.mark.slow
def test_a_model_alone_will_do(teacher: Path, tmp_path: Path) -> None:
    done = run(teacher, tmp_path / "out", *CUT, "--set", "synthesis.iterations=2", data=None)
    assert done.returncode == 0, done.stderr
    assert "no real image is seen" in done.stderr
    assert "No data were given: images were synthesised from batch norm statistics." in done.stdout
    assert "agreement with the teacher (validation)" in done.stdout
    assert "accuracy (" not in done.stdout


@pytest.mark.slow
def test_memory_and_latency_can_be_traded_in_one_row(teacher: Path, tmp_path: Path) -> None:
    mixed = "latency_ms + 0.05*peak_rss_mib <= 1000"
    done = run(teacher, tmp_path / "out", *CUT, "--constraint", mixed, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    row = next(row for row in document["constraints"] if row["expression"] == mixed)
    student = document["student"]
    expected = student["latency_ms"]["p90"] + 0.05 * student["peak_rss_bytes"] / 2**20
    assert row["value"] == pytest.approx(expected)


def test_limit_out_of_reach_names_how_close_it_gets(teacher: Path, tmp_path: Path) -> None:
    done = run(teacher, tmp_path / "out", "--constraint", "macs_ratio <= 0.0001")
    assert_refused(done, tmp_path / "out", 1, "the smallest among them, has")


def test_device_that_is_not_here_is_exit_four(teacher: Path, tmp_path: Path) -> None:
    done = run(teacher, tmp_path / "out", *CUT, "--profile", "jetson")
    assert_refused(done, tmp_path / "out", 4, "ExecutionProvider")


@pytest.mark.parametrize(
    ("options", "code", "culprit"),
    [
        (("--profile", "jetsn"), 2, "jetson"),
        (("--constraint", "latency_rato <= 0.5"), 2, "latency_ratio"),
        (("--constraint", "latency_ratio"), 2, "metric <= number"),
        (("--normalize", "pretty"), 2, "pretty"),
        (("--input-shape", "1,3,8,8"), 2, "--input-shape"),
        (("--set", "search.rollout=3"), 2, "search.rollouts"),
        (("--search", "greedy", "--policy", __file__), 2, "no policy to start from"),
        (("--policy", __file__), 2, "not a safetensors file"),
        (("--policy", "missing.safetensors"), 2, "no policy file"),
        (("--arch", "tests.digits:DigitsNet"), 2, "--arch"),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[str, ...], code: int, culprit: str, teacher: Path, tmp_path: Path
) -> None:
    assert_refused(run(teacher, tmp_path / "out", *options), tmp_path / "out", code, culprit)


def test_broken_model_files(teacher: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(teacher.read_bytes()[:1000])
    assert_refused(run(truncated, tmp_path / "out", *CUT), tmp_path / "out", 3, "truncated.onnx")
    assert_refused(run(tmp_path / "missing.onnx", tmp_path / "out", *CUT), tmp_path / "out", 3, "missing.onnx")


def test_data_that_do_not_fit(teacher: Path, tmp_path: Path) -> None:
    images = np.zeros((20, 8, 8, 1), np.uint8)
    for name, arrays, culprit in (
        ("labels", {"images": images, "labels": np.arange(20)}, "label 19"),
        ("size", {"images": np.zeros((20, 9, 9, 1), np.uint8), "labels": np.arange(20) % 10}, "9x9"),
        ("empty", {"images": images[:0], "labels": np.arange(0)}, "no images"),
        ("keys", {"pictures": images}, "images"),
        ("class", {"images": images, "labels": np.zeros(20, np.int64)}, "All 20 images"),
        ("nan", {"images": np.full((20, 8, 8, 1), np.nan, np.float32)}, "NaN"),
    ):
        np.savez(tmp_path / name, **arrays)
        done = run(teacher, tmp_path / "out", *CUT, data=str(tmp_path / f"{name}.npz"))
        assert_refused(done, tmp_path / "out", 2, culprit)
