"""A whole search over two boards reached by ssh, one of which loses its power half-way: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress.capturing.capture import capture
from tests.digits import trained_digits_net
from tests.measuring.reach.sshd import SshServer
from tests.shared import ROOT

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

EVALUATIONS = 24
PATIENCE_S = 300.0


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_a_search_goes_on_when_one_of_two_boards_dies(new_board: Callable[[], SshServer], tmp_path: Path) -> None:
    first, second = new_board(), new_board()
    model, out = tmp_path / "digits.onnx", tmp_path / "out"
    capture(trained_digits_net(), input_shape=(1, 1, 8, 8), max_opset=17, max_ir=8).save(model)
    profile = tmp_path / "fine.toml"  # narrow steps, so that there are students enough to search among
    profile.write_text((ROOT / "profiles" / "x86.toml").read_text().replace("quantum = 16", "quantum = 2"))
    command = [
        sys.executable,
        "-m",
        "deploycompress",
        "--profile",
        str(profile),
        "--data",
        "digits#train",
        "--out",
        str(out),
    ]
    command += [
        "--constraint",
        "latency_ratio <= 0.9",
        "--evaluations",
        str(EVALUATIONS),
        "--epochs",
        "1",
        "--search",
        "random",
    ]
    command += ["--target", first.target(), "--target", second.target(), str(model)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while lines_of(out / "trace.jsonl") < EVALUATIONS // 3 and process.poll() is None:
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.05)
        assert process.poll() is None, (tmp_path / "said").read_text()
        first.kill()
        code = process.wait(PATIENCE_S)
    text = (tmp_path / "said").read_text()
    assert code == 0, text
    document = json.loads((out / "result.json").read_text())
    rows = [json.loads(line) for line in (out / "trace.jsonl").read_text().splitlines()]
    assert len(rows) == document["search"]["evaluations"] == EVALUATIONS
    assert all(row["measurement"]["latency_ratio"] > 0 for row in rows)
    assert document["evidence"] == "measured"
    assert "A board is lost, 1 of 2 go on: " in text
    assert second.left_behind() == []
