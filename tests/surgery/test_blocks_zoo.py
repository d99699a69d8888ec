"""On one real network per family, each block that is offered can go alone; where there is an oracle, it agrees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlock, CNBlockConfig
from torchvision.models.vision_transformer import VisionTransformer

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.surgery.oracle import compare_graphs, compare_outputs, random_inputs, run_graph
from deploycompress.surgery.remove import remove_blocks
from tools.block_oracles import ORACLES

STEPS = ("norm", "activation", "pool")
EVERY_NTH_STEP = 8
"""Single operators are many and alike; of those only every eighth is run."""


def small_vgg() -> nn.Module:
    network: nn.Module = torchvision.models.vgg11_bn()
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 10)
    return network


def small_transformer() -> nn.Module:
    network: nn.Module = VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10
    )
    return network


def small_densenet() -> nn.Module:
    network: nn.Module = torchvision.models.DenseNet(growth_rate=12, block_config=(4, 6, 4), num_init_features=16)
    return network


def small_convnext() -> nn.Module:
    stages = [CNBlockConfig(24, 48, 2), CNBlockConfig(48, None, 3)]
    network: nn.Module = torchvision.models.ConvNeXt(stages, num_classes=10)
    return network


def small_swin() -> nn.Module:
    network: nn.Module = torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=32, depths=[2, 4], num_heads=[2, 4], window_size=[7, 7], num_classes=10
    )
    return network


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    **{
        name: getattr(torchvision.models, name)
        for name in (
            *("resnet18", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5"),
            *("squeezenet1_1", "regnet_y_400mf", "mnasnet0_5"),
        )
    },
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False, aux_logits=False),
    "inception_v3": lambda: torchvision.models.inception_v3(init_weights=False, aux_logits=False),
    "convnext": small_convnext,
    "densenet": small_densenet,
    "swin": small_swin,
    "vgg11_bn": small_vgg,
    "vision_transformer": small_transformer,
}
EXPECTED_KINDS = {
    "resnet18": {"residual", "layer"},
    "densenet": {"branch"},
    "mobilenet_v3_small": {"residual", "layer", "gate"},
    "efficientnet_b0": {"residual", "layer", "gate"},
    "shufflenet_v2_x0_5": {"layer"},
    "squeezenet1_1": {"branch"},
    "convnext": {"residual", "layer"},
    "regnet_y_400mf": {"residual", "layer", "gate"},
    "mnasnet0_5": {"residual", "layer"},
    "swin": {"residual", "layer"},
    "googlenet": {"branch"},
    "inception_v3": {"branch", "layer"},
    "vgg11_bn": {"layer"},
    "vision_transformer": {"residual", "layer"},
}


def captured(name: str) -> Graph:
    """Capture a network whose norms have the statistics of its signals, so that no branch fades away."""
    torch.manual_seed(0)
    network = FAMILIES[name]()
    size = 96 if name == "inception_v3" else 64
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
        if isinstance(part, CNBlock):
            nn.init.uniform_(part.layer_scale, 0.5, 1.5)
    head = list(network.parameters())[-2:]
    nn.init.normal_(head[0], std=0.1)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    return capture(network.eval(), input_shape=(1, 3, size, size))


def chosen(offered: tuple[Block, ...]) -> list[Block]:
    steps = [block for block in offered if block.kind in STEPS]
    return [block for block in offered if block.kind not in STEPS] + steps[::EVERY_NTH_STEP]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_block_of_a_real_network_goes_alone(family: str) -> None:
    graph = captured(family)
    channels = trace_channels(graph)
    offered = blocks(graph, channels=channels)
    assert {block.kind for block in offered} >= EXPECTED_KINDS[family]
    inputs = random_inputs(graph, seed=0)
    outputs = run_graph(graph, inputs)
    worst: dict[str, float] = {}
    for block in chosen(offered):
        left = remove_blocks(graph, [block.name], offered=offered, channels=channels)
        results = run_graph(left, inputs)
        assert [r.shape for r in results] == [o.shape for o in outputs]
        assert compare_outputs(results, outputs).relative > 0
        assert all(np.isfinite(r).all() for r in results)
        if block.kind in ("residual", "branch", "gate"):
            found = compare_graphs(left, ORACLES[block.kind](graph, block), inputs).relative
            worst[block.kind] = max(worst.get(block.kind, 0.0), found)
    assert all(value <= 1e-4 for value in worst.values()), worst
