"""Bytes of activations that are live at most, counted over an ONNX model with nothing but ONNX's shape inference."""

from __future__ import annotations

import math
from collections import Counter

import onnx

IN_PLACE = frozenset({"Relu", "Clip", "BatchNormalization", "HardSigmoid", "Sigmoid", "Dropout"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity"})
BLOCK = 256  # bytes: ONNX Runtime's arena gives memory in multiples


def peak_bytes(model: onnx.ModelProto) -> int:
    """Run the nodes in order in thought: outputs come, and go when their last reader is done.

    Activation functions and batch norms write over an input that nobody else reads, and reshapes keep their buffer:
    so does ONNX Runtime. Elements are floats, the batch is one.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    sizes = {value.name: _bytes(value) for value in (*inferred.value_info, *inferred.output)}
    readers = Counter(name for node in inferred.node for name in node.input)
    readers.update(value.name for value in inferred.output)
    left = dict(readers)
    owner: dict[str, str] = {}
    pinned: Counter[str] = Counter()
    live: dict[str, int] = {}
    peak = 0
    for node in inferred.node:
        source = node.input[0] if node.input else ""
        takes_over = node.op_type in VIEWS or (node.op_type in IN_PLACE and readers[source] == 1)
        for name in node.output:
            owner[name] = owner[source] if takes_over and source in owner else name
            pinned[owner[name]] += left.get(name, 0)
            live.setdefault(owner[name], BLOCK * -(-sizes.get(name, 0) // BLOCK))
        peak = max(peak, sum(live.values()))
        for name in node.input:
            if name in owner:
                pinned[owner[name]] -= 1
        live = {name: size for name, size in live.items() if pinned[name] > 0}
    return peak


def _bytes(value: onnx.ValueInfoProto) -> int:
    return 4 * math.prod(int(axis.dim_value) or 1 for axis in value.type.tensor_type.shape.dim)
