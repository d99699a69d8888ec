"""The README's program runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import onnx

from tests.build import residual_net
from tests.shared import ROOT


def test_program_in_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 1
    teacher = residual_net(width=16)
    teacher.save(tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", blocks[0]], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 3
    assert (tmp_path / "student.onnx").stat().st_size < (tmp_path / "model.onnx").stat().st_size
    assert (tmp_path / "student.pt2").stat().st_size > 0
    onnx.checker.check_model(onnx.load(tmp_path / "student.onnx"), full_check=True)
