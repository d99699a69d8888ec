"""The same real teacher through the real command line in every kind of file, and a malicious one refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deploycompress.capturing.capture import capture
from tests.cli.quickly import QUICKLY
from tests.shared import CIFAR10, RESNET20, ROOT, needs_shared
from tools.cifar_resnet import resnet20

pytestmark = [pytest.mark.slow, needs_shared]

IMAGE = (2, 3, 32, 32)


def run_command(model: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploycompress", "--profile", "x86"]
    command += ["--data", str(CIFAR10 / "train-0.npz"), "--constraint", "params_ratio <= 0.7", "--out", str(out)]
    command += [*QUICKLY, "--evaluations", "3", "--epochs", "1", "--quiet", "--json", *options, str(model)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


def save_teacher(kind: str, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Save ResNet-20 as a kind of file, and name the options that loading it needs."""
    net = resnet20()
    net.load_state_dict(torch.load(RESNET20, weights_only=True))
    net.eval()
    path = folder / f"teacher{'.onnx' if kind == 'onnx' else '.pt2' if kind == 'pt2' else '.pt'}"
    example = torch.zeros(IMAGE)
    if kind == "state dict":
        torch.save(net.state_dict(), path)
        return path, ("--arch", "tools.cifar_resnet:resnet20")
    if kind == "pickled module":
        torch.save(net, path)
        return path, ("--allow", "tools.cifar_resnet:CifarResNet", "--allow", "tools.cifar_resnet:Block")
    if kind == "torchscript":
        torch.jit.trace(net, example).save(str(path))  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return path, ("--trust",)
    if kind == "pt2":
        batch = torch.export.Dim("batch", min=1, max=1024)
        torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), path)
        return path, ("--trust",)
    capture(net, input_shape=IMAGE, max_opset=17, max_ir=8).save(path)
    return path, ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["state dict", "pickled module", "torchscript", "pt2", "onnx"])
def test_every_kind_of_file_goes_through(kind: str, tmp_path: Path) -> None:
    path, options = save_teacher(kind, tmp_path)
    done = run_command(path, tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["student"]["params"] <= 0.7 * document["teacher"]["params"]
    assert document["teacher"]["accuracy"] > 0.98  # it has seen these images
    assert document["student"]["accuracy"] > 0.8
    assert (tmp_path / "out" / "model.onnx").is_file()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["pickled module", "torchscript", "pt2"])
def test_without_permission_nothing_is_loaded(kind: str, tmp_path: Path) -> None:
    path, _ = save_teacher(kind, tmp_path)
    done = run_command(path, tmp_path / "out")
    assert done.returncode == 3
    assert not (tmp_path / "out").exists()


def test_malicious_pickle_is_refused_without_running(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save(Evil(), tmp_path / "evil.pt")
    done = run_command(tmp_path / "evil.pt", tmp_path / "out")
    assert done.returncode == 3
    assert "system" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "out").exists()
