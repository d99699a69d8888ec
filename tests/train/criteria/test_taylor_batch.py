"""RL-Pruner's score: gradients of the batch's loss, times the weights that make a channel."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F

from deploycompress.channels.records import Role
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.weights import trained_weights
from tests.build import residual_net
from tests.train.criteria.networks import network, scores, some_batches


def test_scores_are_those_of_a_plain_loop() -> None:
    net, batches = network(residual_net()), some_batches()
    expected = np.zeros(net.channels.count + 1)
    weights = trained_weights(net.module)
    for images, labels in batches:
        assert labels is not None
        net.module.zero_grad()
        F.cross_entropy(net.module(images), labels).backward()  # type: ignore[no-untyped-call]
        for tie in net.channels.ties:
            if tie.role is not Role.MAKES:
                continue
            for channel in range(1, net.channels.count + 1):
                change = 0.0
                for position in np.flatnonzero(tie.channels == channel):
                    weight = weights[tie.tensor]
                    assert weight.grad is not None
                    slope = weight.grad.select(tie.axis, int(position)).flatten()
                    piece = weight.detach().select(tie.axis, int(position)).flatten()
                    change += sum(float(g) * float(w) for g, w in zip(slope, piece, strict=True))
                expected[channel] += abs(change) / len(batches)
    found = scores(net, Criterion.TAYLOR_BATCH, batches)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-8)
    assert found[1:].max() > 0
