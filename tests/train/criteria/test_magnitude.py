"""Magnitude is the length of a channel's slice of every weight that makes it."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.records import Role
from deploycompress.train.criteria.criterion import Criterion
from tests.build import residual_net
from tests.train.criteria.networks import network, scores


def test_lengths_of_slices_are_added_up_over_coupled_weights() -> None:
    net = network(residual_net())
    expected = np.zeros(net.channels.count + 1)
    for tie in net.channels.ties:
        if tie.role is Role.MAKES:
            for position, channel in enumerate(tie.channels):
                expected[channel] += np.linalg.norm(net.graph.weights[tie.tensor].take(position, axis=tie.axis))
    found = scores(net, Criterion.MAGNITUDE, [])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    stream = next(tie.channels for tie in net.channels.ties if tie.tensor == "conv0.weight" and tie.axis == 0)
    assert all(
        sum(int(channel in t.channels) for t in net.channels.ties if t.role is Role.MAKES) > 2 for channel in stream
    )
