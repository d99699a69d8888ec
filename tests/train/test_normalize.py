from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.normalize import make_normalization, normalize, normalize_numpy


def data_of(channels: int, dtype: type[np.generic]) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5, channels)).astype(dtype)
    return make_dataset(pixels, np.array([0, 1, 0, 1]), source="random")


def by_loop(data: Dataset, scale: float, mean: list[float], std: list[float]) -> np.ndarray[tuple[int, ...], np.dtype]:
    batch, height, width, channels = data.images.shape
    out = np.empty((batch, channels, height, width))
    for b, y, x, c in np.ndindex(batch, height, width, channels):
        out[b, c, y, x] = (float(data.images[b, y, x, c]) * scale - mean[c]) / std[c]
    return out


@pytest.mark.parametrize(
    ("spec", "channels", "dtype", "scale", "mean", "std"),
    [
        (None, 3, np.uint8, 1 / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (None, 1, np.uint8, 1 / 255, [0.0], [1.0]),
        (None, 3, np.float32, 1.0, [0.0] * 3, [1.0] * 3),
        ("none", 3, np.uint8, 1.0, [0.0] * 3, [1.0] * 3),
        ("unit", 3, np.float32, 1 / 255, [0.0] * 3, [1.0] * 3),
        ("imagenet", 3, np.float32, 1.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("0.49,0.48,0.45/0.2,0.3,0.4", 3, np.uint8, 1 / 255, [0.49, 0.48, 0.45], [0.2, 0.3, 0.4]),
        ("0.5/0.25", 2, np.uint8, 1 / 255, [0.5, 0.5], [0.25, 0.25]),
    ],
)
def test_pixels_become_what_the_formula_says(
    spec: str | None, channels: int, dtype: type[np.generic], scale: float, mean: list[float], std: list[float]
) -> None:
    data = data_of(channels, dtype)
    normalization = make_normalization(spec, data)
    found = normalize_numpy(data.images, normalization)
    np.testing.assert_allclose(found, by_loop(data, scale, mean, std), rtol=1e-5, atol=1e-5)
    assert normalization.describe()["scale"] == scale


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_torch_and_numpy_agree_bit_for_bit(memory_format: torch.memory_format) -> None:
    data = data_of(3, np.uint8)
    normalization = make_normalization("imagenet", data)
    found = normalize(torch.from_numpy(data.images), normalization, memory_format=memory_format)
    assert found.is_contiguous(memory_format=memory_format)
    np.testing.assert_array_equal(found.numpy(), normalize_numpy(data.images, normalization))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("imagnet", "'imagnet' is unknown; expected"),
        ("0.5/x", "no number"),
        ("0.5/0", "positive deviations"),
        ("nan/1", "finite means"),
        ("0.1,0.2/1,1", "for 2 channels, the images have 3"),
    ],
)
def test_other_texts_are_refused(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_normalization(spec, data_of(3, np.uint8))
