"""Cut half of all channels at random on well-known networks and hold slim against masked in ONNX Runtime.

Usage: python -m tools.oracle_table [MODEL ...]     (from the repository root)
Prints a Markdown table: channels that may be cut, seconds to trace and to slim, parameters, largest difference.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
import torchvision
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.measuring.static import params
from deploycompress.plan import Plan
from deploycompress.surgery.oracle import check_plan
from deploycompress.surgery.slim import slim
from tools.cifar_resnet import resnet20, resnet56

TORCHVISION = ("resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "mobilenet_v3_large")
CIFAR = {"cifar_resnet20": resnet20, "cifar_resnet56": resnet56}


def main(names: list[str]) -> int:
    """Print a row for each model; exit 1 when one of them differs by more than 1e-5."""
    print("| model | channels | may be cut | trace s | slim s | params before | after | max abs | relative |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for name in names or [*CIFAR, *TORCHVISION]:
        worst = max(worst, _row(name))
    return 0 if worst <= 1e-5 else 1


def _row(name: str) -> float:
    torch.manual_seed(0)
    module = CIFAR[name]() if name in CIFAR else torchvision.models.get_model(name, weights=None)
    _randomise_norms(module)
    graph = capture(module, input_shape=(1, 3, 32, 32) if name in CIFAR else (1, 3, 224, 224))
    started = time.perf_counter()
    channels = trace_channels(graph)
    traced = time.perf_counter()
    plan = _half(channels)
    begun = time.perf_counter()
    student = slim(graph, plan, channels=channels)
    slimmed = time.perf_counter()
    difference = check_plan(graph, plan, channels=channels)
    free = sum(group.width for group in channels.free_groups)
    print(
        f"| {name} | {channels.count} | {free} | {traced - started:.3f} | {slimmed - begun:.3f} | "
        f"{params(graph):,} | {params(student):,} | {difference.max_abs:.1e} | {difference.relative:.1e} |",
        flush=True,
    )
    return difference.relative


def _half(channels: Channels) -> Plan:
    rng = np.random.default_rng(0)
    return Plan(
        keep={
            group.name: tuple(sorted(int(i) for i in rng.choice(group.width, group.width // 2, replace=False)))
            for group in channels.free_groups
            if group.width > 1
        }
    )


def _randomise_norms(module: nn.Module) -> None:
    """Give every norm statistics that differ from channel to channel, so that a wrong cut shows."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values, low, high in (
                (part.weight.data, 0.5, 1.5),
                (part.bias.data, -0.3, 0.3),
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 1.5),
            ):
                if values is not None:
                    nn.init.uniform_(values, low, high)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
