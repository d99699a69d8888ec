"""Train the demonstration's teacher: a small residual network on scikit-learn's handwritten digits.

Run as `python -m tools.demo_teacher digits.pt`; writes a state dict, to be loaded with
`--arch tools.demo_teacher:DigitsNet`. Widths are multiples of 16, so that a profile's channel quantum leaves room.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deploycompress.train.data import load_data
from deploycompress.train.normalize import make_normalization, normalize

WIDTHS = (32, 64, 128)
CLASSES = 10
EPOCHS = 12
BATCH = 64
PEAK_LEARNING_RATE = 0.01
LEAST_ACCURACY = 0.95
SEED = 0


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, C_in, H, W] to [B, C_out, H / stride, W / stride]."""
        hidden = F.relu(self.bn1(self.conv1(images)))
        return F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(images))


class DigitsNet(nn.Module):
    """Three stages of two blocks, for images of shape [B, 1, 8, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        blocks = []
        for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
            blocks += [Block(before, width, 1 if before == width else 2), Block(width, width, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(WIDTHS[-1], CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to one logit per class, [B, 10]."""
        logits: Tensor = self.head(torch.flatten(self.pool(self.blocks(self.stem(images))), 1))
        return logits


def train_teacher(epochs: int = EPOCHS) -> tuple[DigitsNet, float]:
    """Train from a fixed seed.

    Args:
        epochs: passes over the training split.

    Returns:
        The trained network in evaluation mode, and its accuracy on the test split, in [0, 1].
    """
    generator = torch.Generator().manual_seed(SEED)
    network = DigitsNet()
    _initialise(network, generator)
    images, labels = _tensors("digits#train")
    steps = epochs * -(-len(labels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(labels), generator=generator), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(images[batch]), labels[batch]))
            optimizer.step()
            schedule.step()
    network.eval()
    return network, _accuracy(network)


@torch.no_grad()
def _accuracy(network: DigitsNet) -> float:
    images, labels = _tensors("digits#test")
    return float((network(images).argmax(1) == labels).double().mean())


def _tensors(split: str) -> tuple[Tensor, Tensor]:
    data = load_data(split)
    return normalize(torch.from_numpy(data.images), make_normalization(None, data)), torch.from_numpy(data.labels)


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def main() -> int:
    """Train, save, and fail when the teacher is not worth compressing."""
    if len(sys.argv) != 2:
        print("usage: python -m tools.demo_teacher FILE.pt", file=sys.stderr)
        return 2
    started_s = time.perf_counter()
    network, accuracy = train_teacher()
    torch.save(network.state_dict(), Path(sys.argv[1]))
    seconds = time.perf_counter() - started_s
    print(f"teacher: {100 * accuracy:.2f} % of the test digits right, trained in {seconds:.0f} s", file=sys.stderr)
    return 0 if accuracy > LEAST_ACCURACY else 1


if __name__ == "__main__":
    sys.exit(main())
