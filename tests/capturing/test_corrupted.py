"""Damaged files: a typed error or a model that still verifies, in little time, never anything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision

from deploycompress.capturing.capture import capture
from deploycompress.errors import DeployCompressError
from tests.capturing.build import INPUT_SHAPE, exported_onnx, seeded_net
from tests.capturing.damage import KINDS, damaged

MUTATIONS = 60
QUICK = 39  # three of each kind
ALL = 200
LONGEST = 10.0  # seconds


def mobilenet() -> onnx.ModelProto:
    return capture(torchvision.models.mobilenet_v3_small(), input_shape=(1, 3, 32, 32)).to_onnx()


def shufflenet() -> onnx.ModelProto:
    return capture(torchvision.models.shufflenet_v2_x0_5(), input_shape=(1, 3, 32, 32)).to_onnx()


def outcomes(models: list[onnx.ModelProto], count: int, folder: Path) -> list[str]:
    found = []
    for seed in range(count):
        path = folder / "damaged.onnx"
        path.write_bytes(damaged(models[seed % len(models)], seed))
        start = time.monotonic()
        found.append(attempt(lambda path=path: capture(path)))  # type: ignore[misc]
        assert time.monotonic() - start < LONGEST, f"seed {seed} ({KINDS[seed % len(KINDS)].__name__})"
    return found


def attempt(call: Callable[[], object]) -> str:
    try:
        call()
    except DeployCompressError:
        return "refused"
    return "captured"


def test_damaged_onnx_gives_typed_errors(tmp_path: Path) -> None:
    models = [exported_onnx(seeded_net()), exported_onnx(seeded_net(), dynamic=())]
    found = outcomes(models, QUICK, tmp_path)
    assert found.count("refused") > QUICK // 2


@pytest.mark.slow
def test_damaged_real_networks_give_typed_errors(tmp_path: Path) -> None:
    models = [exported_onnx(seeded_net()), mobilenet(), shufflenet()]
    found = outcomes(models, ALL, tmp_path)
    assert found.count("refused") > ALL // 2


def test_flipped_bytes_of_a_state_dict_give_typed_errors(tmp_path: Path) -> None:
    torch.save(seeded_net().state_dict(), tmp_path / "honest.pt")
    content = np.frombuffer((tmp_path / "honest.pt").read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    path = tmp_path / "flipped.pt"
    found = []
    for _ in range(MUTATIONS):
        changed = content.copy()
        places = generator.integers(0, len(changed), generator.integers(1, 4))
        changed[places] = generator.integers(0, 256, len(places), dtype=np.uint8)
        path.write_bytes(changed.tobytes())
        found.append(attempt(lambda: capture(path, input_shape=INPUT_SHAPE, arch="tests.capturing.build:seeded_net")))
    assert found.count("refused") > MUTATIONS // 10


def test_file_in_the_current_folder_does_not_run_in_the_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported_onnx(seeded_net(), opset=12)
    onnx.save(model, tmp_path / "old.onnx")
    (tmp_path / "onnx.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    capture(tmp_path / "old.onnx")
    assert not (tmp_path / "ran").exists()
