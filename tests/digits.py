"""A small classifier really trained on scikit-learn's digits, for tests that need a network that can do something."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from deploycompress.train.data import load_data
from deploycompress.train.normalize import make_normalization, normalize


class DigitsNet(nn.Module):
    """Two residual stages on 8x8 images."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(y)) + x)
        logits: torch.Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def trained_digits_net(*, steps: int = 250, width: int = 32) -> DigitsNet:
    """Train the network for a few seconds; the same weights every time on one machine."""
    data = load_data("digits#train")
    normalization = make_normalization(None, data)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        net = DigitsNet(width)
    assert data.labels is not None
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.choice(len(data), 64, replace=False)
        images = normalize(torch.from_numpy(data.images[chosen]), normalization)
        loss = F.cross_entropy(net(images), torch.from_numpy(data.labels[chosen]))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return net.eval()


def unequal(teacher: DigitsNet) -> DigitsNet:
    """Scale channels against each other: the same function, with weights that one grid for all of them cannot hold."""
    network = copy.deepcopy(teacher)
    scales = 10 ** (torch.rand(len(network.bn2.weight), generator=torch.Generator().manual_seed(1)) * 3 - 1.5)
    with torch.no_grad():
        network.bn2.weight.mul_(scales)
        network.bn2.bias.mul_(scales)
        network.conv3.weight /= scales[None, :, None, None]
    return network
