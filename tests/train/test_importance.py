from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deploycompress.train.batches import Batch
from deploycompress.train.importance import calibration_batches, taylor_scores
from tests.train.digits_net import digits_net, digits_task


@dataclass(frozen=True)
class Tie:
    tensor: str
    axis: int
    role: str
    channels: NDArray[np.int64]


def some_batches(samples: int, batch_size: int) -> list[Batch]:
    task = digits_task()
    return list(
        calibration_batches(
            task.training,
            task.normalization,
            generator=np.random.default_rng(0),
            samples=samples,
            batch_size=batch_size,
        )
    )


# channels 1-4 made by the first convolution; 5-7 by the second, whose last output is no channel,
# coupled with channels 5 and 6 of the linear layer's outputs 0 to 3
TIES = [
    Tie("0.weight", 0, "makes", np.array([1, 2, 3, 4])),
    Tie("1.weight", 0, "carries", np.array([1, 2, 3, 4])),
    Tie("1.running_mean", 0, "makes", np.array([1, 2, 3, 4])),
    Tie("3.weight", 0, "makes", np.array([5, 6, 7, 0])),
    Tie("3.weight", 1, "reads", np.array([1, 2, 3, 4])),
    Tie("8.bias", 0, "makes", np.array([5, 5, 6, 6, 0, 0, 0, 0, 0, 0])),
]


def test_scores_are_those_of_a_plain_loop() -> None:
    net, batches = digits_net(4, seed=1), some_batches(60, 20)
    found = taylor_scores(net, TIES, 7, batches)
    net.eval()
    parameters = dict(net.named_parameters())
    expected = np.zeros(8)
    for images, labels in batches:
        net.zero_grad()
        F.cross_entropy(net(images), labels).backward()  # type: ignore[no-untyped-call]
        for tie in TIES:
            if tie.role != "makes" or tie.tensor not in parameters:
                continue
            weight = parameters[tie.tensor]
            assert weight.grad is not None
            for channel in range(1, 8):
                change = 0.0
                for position in np.flatnonzero(tie.channels == channel):
                    piece = weight.detach().select(tie.axis, int(position)).flatten()
                    slope = weight.grad.select(tie.axis, int(position)).flatten()
                    change += sum(float(g) * float(w) for g, w in zip(slope, piece, strict=True))
                expected[channel] += abs(change) / len(batches)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[0] == 0
    assert np.all(found[1:] > 0)


def test_a_score_foretells_the_change_of_loss_when_a_channel_shrinks() -> None:
    net, batches = digits_net(4, seed=1).double().eval(), some_batches(100, 100)
    images, labels = batches[0][0].double(), batches[0][1]
    scores = taylor_scores(net, TIES[:1], 4, [(images, labels)])
    with torch.no_grad():
        before = float(F.cross_entropy(net(images), labels))
        net.get_parameter("0.weight")[2] *= 1 - 1e-5
        change = abs(float(F.cross_entropy(net(images), labels)) - before)
    assert scores[3] == pytest.approx(change / 1e-5, rel=1e-2)


def test_scoring_leaves_no_trace() -> None:
    net = digits_net(4, seed=1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    taylor_scores(net, TIES, 7, some_batches(20, 10))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training


def test_nothing_to_score_is_an_error() -> None:
    net = digits_net(4, seed=1)
    with pytest.raises(ValueError, match="at least one batch"):
        taylor_scores(net, TIES, 7, [])
    with pytest.raises(ValueError, match="None of the weights"):
        taylor_scores(net, [Tie("gone", 0, "makes", np.array([1]))], 1, some_batches(10, 10))


def test_calibration_images_are_distinct_and_as_many_as_asked() -> None:
    images = torch.cat([batch for batch, _ in some_batches(100, 30)])
    assert images.shape == (100, 1, 8, 8)
    assert len({image.numpy().tobytes() for image in images}) == 100
