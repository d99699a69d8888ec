"""Norm scales are added up over coupled norms; what has no norm is scored by its weights, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.errors import ModelError
from deploycompress.train.criteria.criterion import Criterion
from tests.build import residual_net, start
from tests.train.criteria.networks import NETWORKS, network, scores


def test_scales_are_added_up_over_coupled_norms() -> None:
    net = network(residual_net())
    expected = np.zeros(net.channels.count + 1)
    for node in net.graph.nodes:
        if node.op == "BatchNormalization":
            _, channels = net.channels.axes[node.outputs[0]]
            np.add.at(expected, channels, np.abs(net.graph.weights[node.inputs[1]]))
    found = scores(net, Criterion.NORM_SCALE, [])
    normed = expected > 0
    np.testing.assert_allclose(found[normed], expected[normed], rtol=1e-6)


def test_channels_without_a_norm_are_scored_by_their_weights() -> None:
    net = network(NETWORKS["few groups"]())  # the second convolution has none
    scaled, large = scores(net, Criterion.NORM_SCALE, []), scores(net, Criterion.MAGNITUDE, [])
    (made,) = (tie.channels for tie in net.channels.ties if tie.role == "makes" and tie.tensor == "conv3.weight")
    np.testing.assert_array_equal(scaled[made], large[made])
    (normed,) = (tie.channels for tie in net.channels.ties if tie.tensor == "norm1.weight")
    assert (scaled[normed] != large[normed]).all()


def test_a_network_without_norms_is_refused() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 4))
    bare = network(net.finish(net.conv(x, 4), input_shape=(3, 8, 8)))
    with pytest.raises(ModelError, match="no norm that scales channels"):
        scores(bare, Criterion.NORM_SCALE, [])
