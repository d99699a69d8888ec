"""What is wrong with data or weights is said before any work, and what goes wrong in training does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.errors import DataError, DeployCompressError, ModelError
from deploycompress.pipeline.result import Result
from deploycompress.pipeline.run import compress
from deploycompress.report.progress import SilentProgress

CLASSES = 3
SHAPE = (2, 8, 8)
Arrays = dict[str, np.ndarray[Any, Any]]


def small_net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        return nn.Sequential(
            nn.Conv2d(SHAPE[0], 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES),
        ).eval()  # fmt: skip


def some_data(count: int) -> Arrays:
    images = np.random.default_rng(0).standard_normal((count, 8, 8, SHAPE[0])).astype(np.float32)
    return {"images": images, "labels": np.arange(count) % CLASSES}


class Heard(SilentProgress):
    """Remembers the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def run(folder: Path, arrays: Arrays, net: nn.Module | None = None, **options: Any) -> Result:
    np.savez(folder / "train.npz", **arrays)  # type: ignore[arg-type]  # numpy takes a flag among the arrays
    settings: dict[str, Any] = {
        "profile": "x86", "data": str(folder / "train.npz"), "constraints": ["params_ratio <= 0.7"],
        "input_shape": (1, *SHAPE), "evaluations": 2, "epochs": 1, **options,
        "settings": ("ship.starts=1", "ship.seconds=1", "ladder.steps=0", *options.get("settings", ())),
    }  # fmt: skip
    return compress(net or small_net(), **settings)


def with_nan(arrays: Arrays) -> Arrays:
    arrays["images"][7, 3, 3, 1] = np.nan
    return arrays


def without_labels(arrays: Arrays) -> Arrays:
    return {"images": arrays["images"]}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a | {"labels": np.zeros(60, np.int64)}, r"All 60 images .* class 0; .*leave out the labels"),
        (lambda a: {"images": a["images"], "y": a["labels"]}, r"no array 'labels', but 'y' looks like labels"),
        (lambda a: a | {"images": a["images"][:, :7]}, r"7x8 with 2 channels, the network reads 8x8 with 2 channels"),
        (lambda a: a | {"images": a["images"][..., :1]}, r"8x8 with 1 channel, the network reads 8x8 with 2 channels"),
        (lambda a: a | {"images": a["images"].transpose(0, 3, 1, 2)}, r"transpose them to \[N, H, W, C\]"),
        (with_nan, r"Image 7 of .* holds NaN"),
        (lambda a: without_labels(with_nan(a)), r"Image 7 of .* holds NaN"),
        (lambda a: {"images": a["images"][:1]}, r"has one image; at least two"),
    ],
)
def test_unfit_data_are_refused_with_the_reason(tmp_path: Path, spoil: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, spoil(some_data(60)))


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [("3.weight", "nan", "NaN"), ("1.running_var", "nan", "NaN"), ("7.bias", "inf", "infinite")],
)
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, name: str, value: str, word: str) -> None:
    net = small_net()
    net.state_dict()[name].view(-1)[2] = float(value)
    with pytest.raises(ModelError, match=rf"'{name}' are {word} in 1 of"):
        run(tmp_path, some_data(60), net)


def test_a_normalisation_that_makes_answers_no_numbers_is_refused(tmp_path: Path) -> None:
    arrays = without_labels(some_data(60))
    arrays["images"] = np.copysign(np.float32(3e38), arrays["images"])
    with pytest.raises(DeployCompressError, match=r"not all finite; check the normalisation"):
        run(tmp_path, arrays)


@pytest.mark.parametrize("has_labels", [True, False])
def test_fewer_images_than_a_batch_will_do(tmp_path: Path, has_labels: bool) -> None:
    arrays = some_data(9)
    result = run(tmp_path, arrays if has_labels else without_labels(arrays))
    assert result.met
    data = result.document["data"]
    assert data["training_images"] + data["validation_images"] == 9
    assert result.document["score"]["name"] == ("accuracy" if has_labels else "agreement")


def test_training_that_diverges_ships_what_was_best_before(tmp_path: Path) -> None:
    heard = Heard()
    result = run(tmp_path, some_data(600), epochs=5, settings=("training.peak_rate=1e12",), progress=heard)
    assert result.document["training"]["stopped"] == "diverged"
    assert any("diverged; the best weights before that ship" in text for text in heard.warnings)
    assert np.isfinite(result.document["score"]["student"])
    assert result.met
