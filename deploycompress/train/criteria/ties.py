"""What scoring needs to know about channels: the weight positions tied to each, and where values carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

MAKES = "makes"
READS = "reads"
CARRIES = "carries"

Numbers = NDArray[np.int64]
Scores = NDArray[np.float64]
ChannelAxes = Mapping[str, tuple[int, Numbers]]
"""By name of a computed value: its channel axis, and the channel number of each position along it."""


class ChannelTie(Protocol):
    """One axis of one weight and the channel that each of its positions belongs to."""

    @property
    def tensor(self) -> str:
        """Name of the weight."""

    @property
    def axis(self) -> int:
        """Axis whose positions are channels."""

    @property
    def role(self) -> str:
        """Whether the weight makes, reads or carries the channels."""

    @property
    def channels(self) -> Numbers:
        """Channel number, from one, of each position along the axis; zero where there is none."""


def sum_by_channel(values: torch.Tensor, axis: int, channels: Numbers, channel_count: int) -> Scores:
    """Add up a tensor's elements by the channel of their position along one axis.

    Args:
        values: any shape.
        axis: the axis of the channels.
        channels: channel number of each position along it.
        channel_count: number of channels; they are numbered from one.

    Returns:
        Sums by channel number in float64, shape [channel_count + 1]; entry 0, which stands for no channel, is 0.
    """
    others = [other for other in range(values.ndim) if other != axis % values.ndim]
    per_position = values.detach().double().sum(dim=others) if others else values.detach().double()
    sums = np.bincount(channels, weights=per_position.cpu().numpy(), minlength=channel_count + 1).astype(np.float64)
    sums[0] = 0.0
    return sums
