"""Whole runs that are not judged by accuracy: no labels, several outputs, the user's own score, no data at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deploycompress.errors import DataError, DeployCompressError, UsageError
from deploycompress.pipeline.result import Result
from deploycompress.pipeline.run import compress
from deploycompress.report.progress import SilentProgress
from deploycompress.report.summary import render_summary
from deploycompress.train.data import load_data
from tests.digits import DigitsNet, trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

QUICKLY = ("ship.starts=1", "ship.seconds=1", "ladder.steps=0")


class TwoHeaded(nn.Module):
    """A map of the image's size and a vector, from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.mask, self.vector = nn.Conv2d(16, 3, 1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x))) + x
        return self.mask(x), self.vector(x.mean((2, 3)))


@pytest.fixture(scope="module")
def teacher() -> DigitsNet:
    return trained_digits_net()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    train, test = load_data("digits#train"), load_data("digits#test")
    assert test.labels is not None
    np.savez(place / "bare.npz", images=train.images)
    np.savez(place / "test.npz", images=test.images, labels=test.labels)
    np.savez(place / "bare_test.npz", images=test.images)
    return place


class Heard(SilentProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def warning(self, text: str) -> None:
        self.said.append(text)


def run(net: nn.Module, **options: Any) -> Result:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "profile": "x86", "constraints": ["params_ratio <= 0.7"], "input_shape": (1, 1, 8, 8), "evaluations": 2,
        "epochs": 1, "settings": QUICKLY, **options,
    }  # fmt: skip
    return compress(net, **settings)


def asked(model: bytes, images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: images}))


def unit(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (images.astype(np.float32) * np.float32(1 / 255)).transpose(0, 3, 1, 2)


def test_without_labels_students_agree_with_the_teacher(teacher: DigitsNet, folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = run(
        teacher, data=str(folder / "bare.npz"), test_data=str(folder / "test.npz"), progress=heard, out=tmp_path / "out"
    )
    score, test = result.document["score"], load_data(str(folder / "test.npz"))
    with torch.no_grad():
        theirs = teacher(torch.from_numpy(unit(test.images))).argmax(1).numpy()
    ours = asked(result.model, unit(test.images))[0].argmax(1)
    assert (score["name"], score["split"], score["teacher"]) == ("agreement", "test", 1.0)
    assert score["student"] == pytest.approx((ours == theirs).mean())
    assert result.document["student"]["accuracy"] == pytest.approx((ours == test.labels).mean())
    assert result.document["teacher"]["accuracy"] == pytest.approx((theirs == test.labels).mean())
    assert result.document["training"]["validation_accuracy"] is None
    assert any("has no labels" in text and "same class as the teacher" in text for text in heard.said)
    summary = render_summary(result.document)
    assert "agreement with the teacher (test)" in summary
    assert "accuracy (test)" in summary
    json.dumps(result.document, allow_nan=False)


def test_several_outputs_are_matched(folder: Path) -> None:
    torch.manual_seed(1)
    net = TwoHeaded().eval()
    heard = Heard()
    result = run(net, data=str(folder / "bare.npz"), test_data=str(folder / "bare_test.npz"), epochs=4, progress=heard)
    images = unit(load_data(str(folder / "bare_test.npz")).images)
    with torch.no_grad():
        theirs = [output.numpy() for output in net(torch.from_numpy(images))]
    errors = [
        np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        for found, wanted in zip(asked(result.model, images), theirs, strict=True)
    ]
    score = result.document["score"]
    assert score["name"] == "output_match"
    assert score["relative_error"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert score["student"] == pytest.approx(1 / (1 + np.mean(errors)), rel=1e-3)
    assert score["relative_error"] < 0.8
    assert result.document["student"]["accuracy"] is None
    assert result.document["training"]["settings"]["loss"]["kind"] == "outputs"
    assert any("no logits" in text for text in heard.said)
    assert "relative error of outputs (test)" in render_summary(result.document)


def test_the_users_own_score_is_reported_in_its_own_units(
    teacher: DigitsNet, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_score_for_test.py").write_text(
        "def worst(outputs, labels):\n"
        "    right = outputs.argmax(1) == labels\n"
        "    return 100 * min(right[labels == k].mean() for k in range(10))\n"
    )
    monkeypatch.chdir(tmp_path)
    result = run(
        teacher, data="digits#train", test_data="digits#test", metric="own_score_for_test:worst", epochs=3,
    )  # fmt: skip
    test, score = load_data("digits#test"), result.document["score"]
    right = asked(result.model, unit(test.images))[0].argmax(1) == test.labels
    assert score["name"] == "own_score_for_test:worst"
    assert score["student"] == pytest.approx(100 * min(right[test.labels == k].mean() for k in range(10)))
    assert score["teacher"] > 80
    assert result.document["training"]["settings"]["loss"]["kind"] == "kl", "a classifier with labels is trained as one"
    assert result.document["student"]["accuracy"] == pytest.approx(right.mean())
    assert "own_score_for_test:worst (test)" in render_summary(result.document)


def test_without_data_images_are_made_up_and_that_is_said(teacher: DigitsNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploycompress.pipeline.data_free.IMAGES", 256)
    heard = Heard()
    quickly = (*QUICKLY, "synthesis.iterations=2", "synthesis.fit_iterations=5", "synthesis.batch_size=128")
    result = run(teacher, data=None, test_data="digits#test", settings=quickly, progress=heard)
    data, score = result.document["data"], result.document["score"]
    assert data["source"] == "synthesised from batch norm statistics"
    assert data["synthesis"]["images"] == data["training_images"] + data["validation_images"] == 256
    assert (score["name"], score["split"]) == ("agreement", "test")
    assert data["normalization"]["name"] == "none"
    assert data["test_normalization"]["name"] == "unit"
    test = load_data("digits#test")
    right = asked(result.model, unit(test.images))[0].argmax(1) == test.labels
    assert result.document["student"]["accuracy"] == pytest.approx(right.mean())
    assert any("no real image is seen" in text for text in heard.said)
    assert "No data were given" in render_summary(result.document)


def test_a_network_without_memory_of_its_data_needs_data(folder: Path) -> None:
    bare = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)).eval()
    with pytest.raises(DataError, match="no batch norms"):
        run(bare, data=None)


def test_an_accuracy_that_nobody_takes_is_no_constraint(teacher: DigitsNet, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"'accuracy >= 0\.9' reads the accuracy.*judged by agreement"):
        run(teacher, data=str(folder / "bare.npz"), constraints=["params_ratio <= 0.7", "accuracy >= 0.9"])


def test_test_data_without_labels_do_not_tell_the_accuracy(teacher: DigitsNet, folder: Path) -> None:
    with pytest.raises(DataError, match="has no labels, the training data have"):
        run(teacher, data="digits#train", test_data=str(folder / "bare_test.npz"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalize": "unit"}, "--normalize unit says how pixels become inputs"),
        ({"constraints": ["latency_ratio <= 0.8", "accuracy >= 0.5"]}, "reads the accuracy"),
        ({"metric": "no_such_module:score"}, "no_such_module"),
    ],
)
def test_mistakes_show_before_images_are_made_up(teacher: DigitsNet, options: dict[str, Any], words: str) -> None:
    heard = Heard()
    with pytest.raises(DeployCompressError, match=words):
        run(teacher, **{"progress": heard, **options})
    assert not any("synthesised" in text for text in heard.said)
