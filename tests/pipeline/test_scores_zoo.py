"""Beyond classification: a segmentation network and a detection backbone of torchvision get faster on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.pipeline.run import compress
from tests.shared import CIFAR10, needs_shared

pytestmark = [pytest.mark.slow, needs_shared]
models = pytest.importorskip("torchvision.models", reason="torchvision has the networks")

QUICKLY = ("ship.starts=1", "ship.seconds=3", "ladder.steps=0,20", "training.batch_size=32")


class Segmenter(nn.Module):
    """What torchvision's segmentation networks give, without the dictionary around it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.net(x)["out"]
        return scores


class Pyramid(nn.Module):
    """The feature maps that a detector looks at."""

    def __init__(self) -> None:
        super().__init__()
        utils = models.detection.backbone_utils
        self.net = utils.resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.net(x).values())


def write_images(path: Path, side: int) -> Path:
    """Write CIFAR-10 pictures of some size, without labels."""
    with np.load(sorted(CIFAR10.glob("train-*.npz"))[0]) as archive:
        small = archive["images"][:600]
    np.savez(path, images=small.repeat(side // 32, axis=1).repeat(side // 32, axis=2))
    return path


def captured(net: nn.Module, path: Path, side: int) -> Path:
    """Write a network as ONNX, with batch norms that have seen images of that size."""
    net.train()
    with torch.no_grad():
        for _ in range(10):
            net(torch.randn(16, 3, side, side))
    capture(net.eval(), input_shape=(1, 3, side, side)).save(path)
    return path


@pytest.mark.parametrize(("build", "side", "outputs"), [(Segmenter, 64, 1), (Pyramid, 32, 5)])
def test_outputs_are_matched_at_four_fifths_of_the_latency(
    build: type[nn.Module], side: int, outputs: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = captured(build(), tmp_path / "model.onnx", side)
    result = compress(
        model, profile="x86", data=str(write_images(tmp_path / "images.npz", side)),
        constraints=["latency_ratio <= 0.8"], evaluations=6, epochs=6, settings=QUICKLY,
    )  # fmt: skip
    score = result.document["score"]
    assert result.met, result.document["constraints"]
    assert len(onnx.load_from_string(result.model).graph.output) == outputs
    assert score["name"] == "output_match"
    assert 0 < score["relative_error"] < 0.9
