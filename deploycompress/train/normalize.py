"""How pixels become the numbers a network was trained on: one record for training, evaluation and ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, Images

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BYTE_SCALE = 1 / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """Per channel, `(pixel * scale - mean) / std`.

    Attributes:
        name: the specification it was made from.
        scale: factor on the raw pixel, 1/255 for bytes.
        mean: subtracted after scaling, one entry per channel.
        std: divided by last, one entry per channel.
    """

    name: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def describe(self) -> dict[str, str | float | list[float]]:
        """Give what a result file needs so that others can feed the network the same way."""
        return {"name": self.name, "scale": self.scale, "mean": list(self.mean), "std": list(self.std)}

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the same map as `pixel * factor + offset`, each of shape [C]."""
        std = np.array(self.std)
        return (self.scale / std).astype(np.float32), (-np.array(self.mean) / std).astype(np.float32)


def make_normalization(spec: str | None, data: Dataset) -> Normalization:
    """Read `--normalize`.

    `unit` always divides by 255; `imagenet` and `MEAN/STD` divide by 255 first when pixels are bytes.

    Args:
        spec: `imagenet`, `unit`, `none`, or `MEAN/STD` with one number or one per channel on each side, such as
            `0.49,0.48,0.45/0.2,0.2,0.2`. `None` takes `none` for floats, `imagenet` for colour, else `unit`.
        data: gives element type and channels.

    Raises:
        DataError: the text is none of these, or has another number of channels.
    """
    channels = data.image_shape[0]
    name = _default_name(data) if spec is None else spec.strip()
    if name == "none":
        return Normalization(name=name, scale=1.0, mean=(0.0,) * channels, std=(1.0,) * channels)
    if name == "unit":
        return Normalization(name=name, scale=BYTE_SCALE, mean=(0.0,) * channels, std=(1.0,) * channels)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if name == "imagenet" else _parse_mean_std(name)
    return Normalization(
        name=name,
        scale=BYTE_SCALE if data.is_bytes else 1.0,
        mean=_per_channel(mean, channels, name),
        std=_per_channel(std, channels, name),
    )


def normalize(
    images: torch.Tensor,
    normalization: Normalization,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> torch.Tensor:
    """Turn raw pixels into a network's input, on the device they lie on.

    Args:
        images: shape [B, H, W, C], uint8 or float32.
        normalization: what to apply.
        memory_format: layout of the result in memory.

    Returns:
        float32, shape [B, C, H, W].
    """
    factor, offset = (torch.from_numpy(part).to(images.device) for part in normalization.factors())
    scaled = images.to(torch.float32) * factor + offset
    return scaled.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)


def normalize_numpy(images: Images, normalization: Normalization) -> NDArray[np.float32]:
    """Do what `normalize` does, for ONNX Runtime.

    Args:
        images: shape [B, H, W, C], uint8 or float32.
        normalization: what to apply.

    Returns:
        float32, shape [B, C, H, W], bit for bit what `normalize` gives on a CPU.
    """
    factor, offset = normalization.factors()
    scaled = images.astype(np.float32) * factor + offset
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _default_name(data: Dataset) -> str:
    if not data.is_bytes:
        return "none"
    return "imagenet" if data.image_shape[0] == 3 else "unit"


def _parse_mean_std(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    expected = "expected 'imagenet', 'unit', 'none', or MEAN/STD such as '0.49,0.48,0.45/0.2,0.2,0.2'"
    parts = text.split("/")
    if len(parts) != 2:
        raise DataError(f"The normalisation {text!r} is unknown; {expected}.")
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in parts)
    except ValueError as error:
        raise DataError(f"The normalisation {text!r} holds something that is no number; {expected}.") from error
    if not all(map(math.isfinite, mean)) or not all(math.isfinite(value) and value > 0 for value in std):
        raise DataError(f"The normalisation {text!r} needs finite means and positive deviations; {expected}.")
    return mean, std


def _per_channel(values: tuple[float, ...], channels: int, name: str) -> tuple[float, ...]:
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise DataError(
            f"The normalisation {name!r} is for {len(values)} channels, the images have {channels}; "
            "give one number per channel."
        )
    return values
