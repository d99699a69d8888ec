"""Where the real data and weights lie, when they are there; tests that need them skip with a reason otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CIFAR10 = SHARED / "data" / "cifar10"
RESNET20 = SHARED / "models" / "resnet20_cifar10.state_dict.pt"

needs_shared = pytest.mark.skipif(
    not (CIFAR10.is_dir() and RESNET20.is_file()),
    reason="the CIFAR-10 data and ResNet weights of ../shared are not there",
)
