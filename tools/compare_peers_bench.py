"""What all competitors share: the teacher, the data with their split, and which code is at work."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.pipeline.task import read_data
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.batches import Batch
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from tools import cifar_resnet

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
SEED = 0
INPUT_SHAPE = (1, 3, 32, 32)
TEACHER = "resnet56"


class Remembering(nn.Module):
    """A teacher that answers each batch once: all competitors see the same batches in the same order.

    Args:
        teacher: whom to ask.
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self._teacher = teacher
        self._answers: dict[bytes, torch.Tensor] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits [B, K] of images [B, C, H, W]."""
        key = hashlib.blake2b(images.contiguous().numpy().tobytes()).digest()
        if key not in self._answers:
            self._answers[key] = self._teacher(images)
        return self._answers[key]


class Bench:
    """ResNet-56 on CIFAR-10; everything is read when it is first asked for.

    Args:
        shared: folder with `models` and `data/cifar10`.
    """

    def __init__(self, shared: Path = SHARED) -> None:
        self._shared = shared

    @cached_property
    def network(self) -> cifar_resnet.CifarResNet:
        """The teacher as torch knows it."""
        network = cifar_resnet.resnet56()
        network.load_state_dict(torch.load(self._shared / "models" / f"{TEACHER}_cifar10.state_dict.pt"))
        return network.eval()

    @cached_property
    def graph(self) -> Graph:
        """The teacher, captured."""
        return capture(self.network, input_shape=INPUT_SHAPE)

    @cached_property
    def baseline(self) -> Graph:
        """The teacher as it would ship."""
        return shipped_form(self.graph)

    @cached_property
    def teacher(self) -> GraphModule:
        """The teacher as it teaches."""
        return to_torch(self.graph)

    @cached_property
    def guide(self) -> Remembering:
        """The teacher as it answers batches."""
        return Remembering(self.teacher)

    @cached_property
    def _data(self) -> tuple[TaskData, Dataset]:
        folder = self._shared / "data" / "cifar10"
        files = [str(folder / f"train-{index}.npz") for index in range(5)]
        task, test = read_data(self.graph, files, str(folder / "test.npz"), normalize=None, seed=SEED)
        if test is None:
            raise FileNotFoundError(folder / "test.npz")
        return task, test

    @property
    def task(self) -> TaskData:
        """Training and validation images."""
        return self._data[0]

    @property
    def test(self) -> Dataset:
        """Held out: for final figures only."""
        return self._data[1]

    def batches(self, images: int) -> list[Batch]:
        """Draw the same training images every time, normalised, 128 at a time."""
        generator = np.random.default_rng(SEED + 1)
        data, normalization = self.task.training, self.task.normalization
        return list(calibration_batches(data, normalization, generator=generator, samples=images, batch_size=128))


def commit() -> str:
    """Name the code that is at work; `+` where files were changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
