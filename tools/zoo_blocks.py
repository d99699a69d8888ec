"""Removes each offered block alone from one real network per family, and runs what is left in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import warnings
from collections import Counter

import numpy as np

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.oracle import compare_outputs, random_inputs, run_graph
from deploycompress.surgery.remove import remove_blocks
from tools.block_oracles import ORACLES
from tools.zoo_models import Entry, entries, randomise

FAMILIES = {  # name, and the side of a smaller input where the network takes one
    **dict.fromkeys(("resnet18", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"), 64),
    **dict.fromkeys(("densenet121", "googlenet", "shufflenet_v2_x0_5", "squeezenet1_1", "regnet_y_400mf"), 64),
    **dict.fromkeys(("mnasnet0_5", "vgg11_bn", "convnext_tiny", "fcn_resnet50", "lraspp_mobilenet_v3_large"), 64),
    **dict.fromkeys(("inception_v3",), 96),
    **dict.fromkeys(("vit_b_32", "swin_t", "maxvit_t"), 224),
}
PROVEN = ("residual", "gate", "branch")
"""Kinds whose oracle is written for any network; layers, norms and activations have theirs on small networks."""


@dataclasses.dataclass(kw_only=True)
class BlockRow:
    """What was found for one network: blocks by kind, how many ran, largest relative difference by kind."""

    name: str
    offered: dict[str, int]
    ran: int
    worst: dict[str, float]
    find_s: float
    failures: list[str] = dataclasses.field(default_factory=list)


def check_blocks(name: str, side: int) -> BlockRow:
    """Remove every block of a network, one at a time."""
    entry = next(entry for entry in entries() if entry.name == f"torchvision/{name}")
    entry = Entry(entry.name, ((1, 3, side, side),), entry.arguments)
    module = entry.build()
    randomise(module, entry.inputs)
    graph = capture(module, input_shape=entry.inputs[0])
    channels = trace_channels(graph)
    started = time.perf_counter()
    offered = blocks(graph, channels=channels)
    row = BlockRow(
        name=name,
        offered=dict(Counter(block.kind for block in offered)),
        ran=0,
        worst={},
        find_s=time.perf_counter() - started,
    )
    inputs = random_inputs(graph, seed=0)
    shapes = [output.shape for output in run_graph(graph, inputs)]
    for block in offered:
        outputs = run_graph(remove_blocks(graph, [block.name], offered=offered, channels=channels), inputs)
        if [output.shape for output in outputs] != shapes or not all(np.isfinite(output).all() for output in outputs):
            row.failures.append(block.name)
            continue
        row.ran += 1
        if block.kind in PROVEN:
            reference = run_graph(ORACLES[block.kind](graph, block), inputs)
            found = compare_outputs(outputs, reference).relative
            row.worst[block.kind] = max(row.worst.get(block.kind, 0.0), found)
    return row


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(dataclasses.asdict(check_blocks(sys.argv[1], FAMILIES[sys.argv[1]]))))
