from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.train.accuracy import accuracy, chance_warning
from deploycompress.train.compute import Compute
from deploycompress.train.normalize import normalize_numpy
from tests.train.digits_net import digits_net, digits_task


def test_accuracy_is_the_count_by_plain_loop() -> None:
    task, net = digits_task(), digits_net(4, seed=0)
    images = torch.from_numpy(normalize_numpy(task.validation.images, task.normalization))
    assert task.validation.labels is not None
    net.eval()
    right = 0
    with torch.no_grad():
        for image, label in zip(images, task.validation.labels, strict=True):
            right += int(net(image[None]).argmax()) == int(label)
    net.train()
    assert accuracy(net, task.validation, task.normalization, batch_size=100) == right / len(task.validation)


def test_nothing_of_the_network_changes() -> None:
    task, net = digits_task(), digits_net(4, seed=0)
    net[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    accuracy(net, task.validation, task.normalization)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert net.training
    assert not net[1].training


def test_a_network_that_gives_nan_gets_nothing_right() -> None:
    task, net = digits_task(), digits_net(4, seed=0)
    nn.init.constant_(net.get_parameter("8.bias"), float("nan"))
    assert accuracy(net, task.validation, task.normalization) == 0.0


def test_bfloat16_changes_little() -> None:
    task, net = digits_task(), digits_net(8, seed=0)
    exact = accuracy(net, task.validation, task.normalization)
    rough = accuracy(net, task.validation, task.normalization, compute=Compute(device=torch.device("cpu"), bf16=True))
    assert abs(exact - rough) < 0.03


@pytest.mark.parametrize(
    ("value", "classes", "warns"),
    [(0.10, 10, True), (0.18, 10, True), (0.20, 10, False), (0.55, 2, False), (0.52, 2, True), (0.01, 1000, True)],
)
def test_guessing_is_warned_of(value: float, classes: int, warns: bool) -> None:
    warning = chance_warning(value, classes)
    assert (warning is not None) == warns
    assert warning is None or "--normalize" in warning
    assert np.isfinite(value)
