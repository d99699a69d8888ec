"""Merging in whole networks: what ships keeps its function, and what is left between two layers goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from deploycompress.measuring.static import macs
from deploycompress.surgery.merge_linear import merge_linear
from deploycompress.surgery.oracle import compare_graphs, random_inputs
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.shipped import shipped_form
from tests.layers import graphs
from tests.surgery.test_merge_linear import assert_same_function, operators


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_the_form_that_ships_keeps_the_function(graph: Graph) -> None:
    shipped = shipped_form(graph)
    assert compare_graphs(shipped, graph, random_inputs(graph, seed=1)).relative <= 1e-5
    assert merge_linear(shipped) is shipped


def pointwise() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.ReLU())


def vgg() -> nn.Module:
    """The stem of a VGG, with an unpadded second layer."""
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3), nn.BatchNorm2d(4)]
    return nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2))


def inverted() -> nn.Module:
    """A block of MobileNetV2 that changes its width, so that it has no skip connection."""
    expand = [nn.Conv2d(6, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
    depthwise = [nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
    return nn.Sequential(*expand, *depthwise, nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())


@pytest.mark.parametrize(
    ("network", "channels", "removed", "left"),
    [
        (pointwise, 3, ["0/Relu"], ["Conv", "Relu"]),
        (vgg, 3, ["1/Relu"], ["Conv", "Relu", "MaxPool"]),
        (inverted, 6, ["1/Clip", "3/layer"], ["Conv", "Relu"]),
    ],
)
def test_removing_what_is_between_two_layers_leaves_one(
    network: Callable[[], nn.Module], channels: int, removed: Sequence[str], left: Sequence[str]
) -> None:
    torch.manual_seed(0)
    graph = capture(network().eval(), input_shape=(1, channels, 12, 12))
    bare = remove_blocks(graph, removed)
    shipped = shipped_form(bare)
    assert operators(shipped) == left
    assert_same_function(shipped, bare)
    assert macs(shipped) < macs(bare)


def test_inverted_block_of_a_mobilenet_becomes_one_convolution() -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    torch.manual_seed(0)
    short = [[1, 16, 1, 1], [6, 24, 2, 2]]  # expansion, width, blocks, stride
    network = models.MobileNetV2(num_classes=10, width_mult=0.5, inverted_residual_setting=short)
    graph = capture(network.eval(), input_shape=(1, 3, 32, 32))
    bare = remove_blocks(graph, ["features.3.conv.0.1/Clip", "features.3.conv.1.0/layer"])
    shipped = shipped_form(bare)
    before, after = (
        [node for node in one.nodes if node.op == "Conv" and "features.3/" in node.name]
        for one in (shipped_form(graph), shipped)
    )
    assert [len(before), len(after)] == [3, 1]
    width = graph.shape_of("features.3.conv.2.weight")[0]
    assert shipped.shape_of(after[0].input(1)) == (width, width, 1, 1)
    assert_same_function(shipped, bare)
