"""Everything that trains also works on the graph itself, and does there what it does on torch's own layers."""

from __future__ import annotations

import numpy as np
import torch

from deploycompress.network.module import from_torch, to_torch
from deploycompress.train.accuracy import accuracy
from deploycompress.train.batches import Batch
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.compute import Compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.generator import make_generator
from deploycompress.train.recalibrate import recalibrate
from tests.train.digits_graph import digits_graph
from tests.train.digits_net import digits_net, digits_task


def some_batches(task: TaskData) -> list[Batch]:
    return list(
        calibration_batches(
            task.training, task.normalization, generator=np.random.default_rng(0), samples=200, batch_size=100
        )
    )


def test_accuracy_and_recalibration_agree_with_the_torch_twin() -> None:
    task, net = digits_task(), digits_net(4, seed=0)
    module = to_torch(digits_graph(net))
    batches = some_batches(task)
    assert recalibrate(module, batches) == recalibrate(net, batches) == 2
    expected = net.state_dict()
    for name, value in from_torch(module).weights.items():
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=1e-4, atol=1e-6)
    assert accuracy(module, task.validation, task.normalization) == accuracy(net, task.validation, task.normalization)
    assert not module.training


def test_a_graph_is_distilled_like_its_torch_twin_and_written_back() -> None:
    task, teacher = digits_task(), digits_net(8, seed=3)
    net = digits_net(4, seed=0)
    module = to_torch(digits_graph(net))
    settings = DistilSettings(steps=4, checks=1, compute=Compute(device=torch.device("cpu")))
    for student in (net, module):
        distil(student, teacher, task, settings=settings, generator=make_generator(0))
    expected = net.state_dict()
    for name, value in from_torch(module).weights.items():
        np.testing.assert_allclose(value, expected[name].numpy(), rtol=2e-2, atol=2e-4)
