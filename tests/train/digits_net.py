"""A small convolutional network that learns the digits in seconds, and the digits themselves."""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.train.data import load_data
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import make_normalization


def digits_net(width: int, seed: int, *, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(16 * width, 10),
        )


def digits_task() -> TaskData:
    training = load_data("digits#train", input_shape=(1, 8, 8), num_classes=10)
    return TaskData(
        training=training,
        validation=load_data("digits#test", input_shape=(1, 8, 8), num_classes=10),
        normalization=make_normalization(None, training),
    )
