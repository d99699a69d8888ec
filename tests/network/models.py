"""Small torch networks that use what real ones do."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """CIFAR residual block with the parameter-free shortcut (option A: slice and pad)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.extra = (outputs - inputs) // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class ResNet(nn.Module):
    """CIFAR ResNet of depth 6 n + 2."""

    def __init__(self, blocks: int, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, blocks)
        self.layer2 = self._stage(width, 2 * width, blocks)
        self.layer3 = self._stage(2 * width, 4 * width, blocks)
        self.fc = nn.Linear(4 * width, 10)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, 1 if inputs == outputs else 2)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class MixedNet(nn.Module):
    """ConvNeXt-like and transformer-like parts: layer scale, layer norm, attention, concatenation, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.slope = nn.PReLU(8)
        self.depthwise = nn.Conv2d(8, 8, 5, 1, 2, groups=8)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Linear(8, 24)
        self.narrow = nn.Linear(24, 8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.position = nn.Parameter(torch.zeros(1, 16, 16))
        self.attention = nn.Linear(16, 48)
        self.up = nn.ConvTranspose2d(16, 4, 2, 2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.slope(self.stem(x)), 2)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))).permute(0, 3, 1, 2)
        x = torch.cat([x + self.scale * y, F.avg_pool2d(x, 3, 1, 1)], 1)
        tokens = x.reshape(-1, 16, 16).transpose(1, 2) + self.position
        query, key, value = self.attention(tokens).chunk(3, -1)
        tokens = torch.softmax(query @ key.transpose(1, 2) / 4, -1) @ value
        x = self.up(tokens.transpose(1, 2).reshape(-1, 16, 4, 4))
        logits: Tensor = self.head(F.hardswish(x).amax((2, 3)))
        return logits
