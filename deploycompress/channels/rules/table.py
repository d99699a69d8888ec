"""The visible table of operator rules; an operator that is not in it freezes what it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deploycompress.channels.labels import LabelBuilder
from deploycompress.channels.rules import (
    contraction,
    convolution,
    elementwise,
    extension,
    normalization,
    pooling,
    reduction,
    reshaping,
    selection,
)
from deploycompress.graph import Node

Rule = Callable[[LabelBuilder, Node], None]

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh"),
    *("Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"),
    *("LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign"),
    *("Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"),
)
NARY = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"),
    *("Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
)
POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(UNARY, elementwise.unary),
    **dict.fromkeys(NARY, elementwise.nary),
    **dict.fromkeys(POOLS, pooling.pool),
    **dict.fromkeys(REDUCTIONS, reduction.reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "TopK"), reduction.along_axis),
    **dict.fromkeys(("ArgMax", "ArgMin"), reduction.arg_reduce),
    **dict.fromkeys(("GridSample", "RoiAlign"), pooling.sample),
    "BatchNormalization": normalization.batch_norm,
    "Concat": extension.concat,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "CumSum": reduction.cumulative,
    "DepthToSpace": reshaping.depth_to_space,
    "Einsum": contraction.einsum,
    "Expand": extension.expand,
    "Flatten": reshaping.flatten,
    "Gather": selection.gather,
    "Gemm": contraction.gemm,
    "GroupNormalization": normalization.group_norm,
    "InstanceNormalization": normalization.instance_norm,
    "LayerNormalization": normalization.layer_norm,
    "LpNormalization": reduction.lp_norm,
    "MatMul": contraction.matmul,
    "Pad": extension.pad,
    "Reshape": reshaping.reshape,
    "Resize": pooling.resize,
    "Shape": selection.shape_,
    "Slice": selection.slice_,
    "SpaceToDepth": reshaping.space_to_depth,
    "Split": selection.split,
    "Squeeze": reshaping.squeeze,
    "Tile": extension.tile,
    "Transpose": reshaping.transpose,
    "Trilu": reduction.last_two_axes,
    "Unsqueeze": reshaping.unsqueeze,
}


def apply_rule(builder: LabelBuilder, node: Node) -> None:
    """Label what a node makes from the labels of what it reads."""
    if any(output in builder.views for output in node.outputs):
        return
    rule = RULES.get(node.op) if node.is_standard else None
    if rule is None:
        _freeze_unknown(builder, node)
    elif unknown := [name for name in (*node.inputs, *node.outputs) if name and not builder.has_shape(name)]:
        builder.freeze_inputs(node, f"{node.name} works on {unknown[0]}, whose number of axes is unknown")
    else:
        rule(builder, node)
        _freeze_second_outputs(builder, node)


def _freeze_second_outputs(builder: LabelBuilder, node: Node) -> None:
    """Freeze what makes a further tensor that somebody reads and the rule did not label: masks, places, statistics."""
    for output in node.outputs[1:]:
        if output and builder.of(output) is None and builder.is_used(output):
            builder.freeze_inputs(node, f"{node.name} gives out {output} besides")


def _freeze_unknown(builder: LabelBuilder, node: Node) -> None:
    """Stand in for a missing rule: nothing that enters the node may be cut, nothing that leaves has channels."""
    domain = f"{node.domain}." if node.domain else ""
    builder.freeze_inputs(node, f"operator {domain}{node.op} ({node.name}) has no rule")
