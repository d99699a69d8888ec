"""The visible table of operator rules; an operator that is not in it freezes what it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deploycompress.channels.labels import LabelBuilder
from deploycompress.channels.rules import elementwise, linear, movement, normalization, pooling, reduction
from deploycompress.graph import Node

Rule = Callable[[LabelBuilder, Node], None]

RULES: Mapping[str, Rule] = {
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Gemm": linear.gemm,
    "MatMul": linear.matmul,
    "BatchNormalization": normalization.per_channel,
    "InstanceNormalization": normalization.per_channel,
    **dict.fromkeys(
        (
            *("Abs", "Cast", "Ceil", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
            *("HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu"),
            *("Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
        ),
        elementwise.unary,
    ),
    **dict.fromkeys(("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum"), elementwise.nary),
    **dict.fromkeys(
        ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool", "MaxPool"), pooling.pool
    ),
    **dict.fromkeys(
        (
            *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
            *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
        ),
        reduction.reduce,
    ),
    "Softmax": reduction.along_axis,
    "LogSoftmax": reduction.along_axis,
    "Concat": movement.concat,
    "Flatten": movement.flatten,
    "Pad": movement.pad,
    "Reshape": movement.reshape,
    "Slice": movement.slice_,
    "Split": movement.split,
    "Squeeze": movement.squeeze,
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
}


def freeze_unknown(builder: LabelBuilder, node: Node) -> None:
    """Stand in for a missing rule: nothing that enters the node may be cut, nothing that leaves has channels."""
    domain = f"{node.domain}." if node.domain else ""
    builder.freeze_inputs(node, f"operator {domain}{node.op} ({node.name}) has no rule")
