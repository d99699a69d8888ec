"""Builds small ONNX networks for tests: by hand, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploycompress.channels.records import Channels
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.plan import Plan


@dataclass
class NetBuilder:
    """Appends layers to a network; every method takes and gives tensor names. Weights are random."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    width: dict[str, int] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, outputs: int = 1, width: int | None = None, **attributes: Any) -> str:
        """Append any operator and give its first output."""
        names = [f"{kind.lower()}{len(self.nodes)}_{position}" for position in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"{kind}_{len(self.nodes)}", **attributes))
        for name in names:
            self.width[name] = self.width.get(inputs[0], 0) if width is None else width
        return names[0]

    def weight(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Add a constant."""
        self.weights[name] = array
        return name

    def normal(self, name: str, *shape: int) -> str:
        """Add a random float constant scaled so that signals keep their size."""
        fan_in = max(int(np.prod(shape[1:])), 1)
        return self.weight(name, (self.rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def integers(self, *values: int) -> str:
        """Add an integer constant of its own."""
        return self.weight(f"ints{len(self.weights)}", np.asarray(values, dtype=np.int64))

    def size(self, x: str) -> int:
        """Height and width of the current images: each option A shortcut has halved them."""
        del x
        return 16 >> sum(node.op_type == "Pad" for node in self.nodes)

    def conv(self, x: str, filters: int, *, kernel: int = 3, group: int = 1, bias: bool = True, stride: int = 1) -> str:
        """Append a convolution that keeps the size at stride one."""
        name = f"conv{len(self.nodes)}"
        inputs = [x, self.normal(f"{name}.weight", filters, self.width[x] // group, kernel, kernel)]
        if bias:
            inputs.append(self.normal(f"{name}.bias", filters))
        half = kernel // 2
        return self.op(
            "Conv",
            *inputs,
            width=filters,
            group=group,
            pads=[half] * 4,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
        )

    def norm(self, x: str) -> str:
        """Append a batch norm with random statistics."""
        name, width = f"norm{len(self.nodes)}", self.width[x]
        self.normal(f"{name}.weight", width)
        self.normal(f"{name}.bias", width)
        self.normal(f"{name}.mean", width)
        self.weight(f"{name}.var", self.rng.uniform(0.5, 2.0, width).astype(np.float32))
        return self.op("BatchNormalization", x, *(f"{name}.{part}" for part in ("weight", "bias", "mean", "var")))

    def transposed(self, x: str, filters: int) -> str:
        """Append a transposed convolution that keeps the size."""
        name = f"transposed{len(self.nodes)}"
        weight = self.normal(f"{name}.weight", self.width[x], filters, 3, 3)
        bias = self.normal(f"{name}.bias", filters)
        return self.op("ConvTranspose", x, weight, bias, width=filters, pads=[1] * 4, kernel_shape=[3, 3])

    def instance_norm(self, x: str) -> str:
        """Append a normalisation of each channel over its own positions."""
        name = f"instance{len(self.nodes)}"
        scale, shift = (self.normal(f"{name}.{part}", self.width[x]) for part in ("weight", "bias"))
        # A generous epsilon: over few positions of hardly any variance, it alone keeps rounding from being magnified.
        return self.op("InstanceNormalization", x, scale, shift, epsilon=0.1)

    def depthwise(self, x: str, multiplier: int = 1) -> str:
        """Append a depthwise convolution."""
        return self.conv(x, self.width[x] * multiplier, group=self.width[x])

    def squeeze_excite(self, x: str, hidden: int) -> str:
        """Scale channels by a gate computed from their means."""
        gate = self.op("Relu", self.conv(self.op("GlobalAveragePool", x), hidden, kernel=1))
        gate = self.op("HardSigmoid", self.conv(gate, self.width[x], kernel=1))
        return self.op("Mul", x, gate)

    def widen_with_zeros(self, x: str, before: int, after: int) -> str:
        """Append the option A shortcut: every second position, zero channels on both sides."""
        bounds = [self.integers(*values) for values in ((0, 0), (2**31, 2**31), (2, 3), (2, 2))]
        sliced = self.op("Slice", x, *bounds)
        pads = self.integers(0, before, 0, 0, 0, after, 0, 0)
        return self.op("Pad", sliced, pads, width=self.width[x] + before + after, mode="constant")

    def linear(self, x: str, outputs: int) -> str:
        """Append a fully connected layer on [batch, features]."""
        name = f"linear{len(self.nodes)}"
        self.normal(f"{name}.weight", outputs, self.width[x])
        self.normal(f"{name}.bias", outputs)
        return self.op("Gemm", x, f"{name}.weight", f"{name}.bias", width=outputs, transB=1)

    def finish(self, output: str, *, input_shape: tuple[int, ...]) -> Graph:
        """Close the network into a graph with the input `x` and the given output."""
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "test",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *input_shape])],
                [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
                [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
        )
        model.ir_version = 8
        return graph_from_onnx(model)


def start(seed: int = 0, *, channels: int = 3) -> NetBuilder:
    """Begin a network with one image input named `x`."""
    builder = NetBuilder(np.random.default_rng(seed))
    builder.width["x"] = channels
    return builder


def residual_net(seed: int = 0, *, width: int = 8, classes: int = 5) -> Graph:
    """Build a small residual network with batch norm, option A shortcut and a linear head."""
    net = start(seed)
    x = net.op("Relu", net.norm(net.conv("x", width, bias=False)))
    for _ in range(2):
        y = net.op("Relu", net.norm(net.conv(x, width, bias=False)))
        x = net.op("Relu", net.op("Add", net.norm(net.conv(y, width, bias=False)), x))
    wide = net.op("Relu", net.norm(net.conv(x, 2 * width, bias=False, stride=2)))
    shortcut = net.widen_with_zeros(x, width // 2, width // 2)
    x = net.op("Relu", net.op("Add", net.norm(net.conv(wide, 2 * width, bias=False)), shortcut))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, classes), input_shape=(3, 8, 8))


def random_plan(channels: Channels, seed: int, share: float = 0.5) -> Plan:
    """Keep a random share of every free group, at least one channel."""
    rng = np.random.default_rng(seed)
    keep = {}
    for group in channels.free_groups:
        count = max(1, round(group.width * share))
        keep[group.name] = tuple(sorted(int(i) for i in rng.choice(group.width, count, replace=False)))
    return Plan(keep=keep)
