from __future__ import annotations

import numpy as np
import torch

from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.recalibrate import recalibrate
from tests.train.digits_net import digits_net, digits_task


def test_statistics_become_the_plain_average_over_batches() -> None:
    task, net = digits_task(), digits_net(4, seed=0)
    net.get_buffer("1.running_mean").fill_(7.0)
    batches = list(
        calibration_batches(
            task.training, task.normalization, generator=np.random.default_rng(0), samples=300, batch_size=100
        )
    )
    weights = {name: tensor.clone() for name, tensor in net.named_parameters()}
    assert recalibrate(net, batches) == 3
    with torch.no_grad():
        outputs = [net.get_submodule("0")(images).double() for images, _ in batches]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(net.get_buffer("1.running_mean").double(), means, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(net.get_buffer("1.running_var").double(), variances, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.named_parameters())
    assert net[1].momentum == 0.1
    assert net.training


def test_dropout_is_out_of_it_and_no_batch_changes_nothing() -> None:
    task, net = digits_task(), digits_net(4, seed=0, dropout=0.5)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert recalibrate(net, []) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    batch = list(calibration_batches(task.training, task.normalization, generator=np.random.default_rng(0)))
    first, second = digits_net(4, seed=0, dropout=0.5), digits_net(4, seed=0, dropout=0.5)
    recalibrate(first, batch)
    recalibrate(second, batch)
    assert torch.equal(first.get_buffer("4.running_var"), second.get_buffer("4.running_var"))
