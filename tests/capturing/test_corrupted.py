"""Flipped bytes: a typed error or a model that still verifies, never anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from deploycompress.capturing.capture import capture
from deploycompress.errors import DeployCompressError
from tests.capturing.build import INPUT_SHAPE, exported_onnx, seeded_net

MUTATIONS = 120


@pytest.mark.parametrize("kind", ["onnx", "pt"])
def test_flipped_bytes_give_typed_errors(kind: str, tmp_path: Path) -> None:
    honest = tmp_path / f"honest.{kind}"
    if kind == "onnx":
        capture(seeded_net(), input_shape=INPUT_SHAPE).save(honest)
    else:
        torch.save(seeded_net().state_dict(), honest)
    content = np.frombuffer(honest.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    outcomes = [attempt(content, rng, tmp_path / f"flipped.{kind}", kind) for _ in range(MUTATIONS)]
    assert outcomes.count("refused") > MUTATIONS // 10


def attempt(
    content: np.ndarray[tuple[int], np.dtype[np.uint8]], rng: np.random.Generator, path: Path, kind: str
) -> str:
    changed = content.copy()
    places = rng.integers(0, len(changed), rng.integers(1, 4))
    changed[places] = rng.integers(0, 256, len(places), dtype=np.uint8)
    path.write_bytes(changed.tobytes())
    try:
        arch = None if kind == "onnx" else "tests.capturing.build:seeded_net"
        capture(path, input_shape=None if kind == "onnx" else INPUT_SHAPE, arch=arch)
    except DeployCompressError:
        return "refused"
    return "captured"


def test_file_in_the_current_folder_does_not_run_in_the_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported_onnx(seeded_net(), opset=12)
    onnx.save(model, tmp_path / "old.onnx")
    (tmp_path / "onnx.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    capture(tmp_path / "old.onnx")
    assert not (tmp_path / "ran").exists()
