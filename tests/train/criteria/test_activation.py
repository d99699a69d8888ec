"""Activation scores are standard deviations of what layers read."""

from __future__ import annotations

import numpy as np
import torch

from deploycompress.train.criteria.criterion import Criterion
from tests.build import residual_net
from tests.train.criteria.networks import network, scores, some_batches


def test_deviations_are_added_up_over_every_value_that_is_read() -> None:
    net, batches = network(residual_net()), some_batches()
    images = torch.cat([batch for batch, _ in batches])
    read = {node.inputs[0] for node in net.graph.nodes if node.op in ("Conv", "Gemm") and node.inputs[0] != "x"}
    with torch.no_grad():
        _, seen = net.module.observe(tuple(read), images)
    expected = np.zeros(net.channels.count + 1)
    for name, value in seen.items():
        for position, channel in enumerate(net.channels.axes[name][1]):
            expected[channel] += value[:, position].double().numpy().std()
    np.testing.assert_allclose(scores(net, Criterion.ACTIVATION, batches), expected, rtol=1e-5, atol=1e-9)
    assert expected.max() > 0
