"""Batch, layer, instance and group norm, and the dropout that inference graphs keep."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import Kernel, NodeContext, Operator, PassMode

DEFAULT_EPSILON = 1e-5


def _epsilon(context: NodeContext) -> float:
    return float(context.attribute("epsilon", DEFAULT_EPSILON))


def _batch_norm(context: NodeContext) -> Kernel:
    if context.attribute("training_mode", 0) or any(map(context.has_output, range(1, 5))):
        raise context.refuse("is exported in training mode; export the model in evaluation mode")
    for position in (3, 4):
        context.constant(position)
    epsilon = _epsilon(context)
    # ONNX weighs the old statistics, torch the new ones
    own_momentum = 1.0 - float(context.attribute("momentum", 0.9))

    def run(mode: PassMode, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        momentum = own_momentum if mode.momentum is None else mode.momentum
        return F.batch_norm(x, mean, variance, scale, bias, mode.training, momentum, epsilon)

    return run


def _layer_norm(context: NodeContext) -> Kernel:
    if context.attribute("stash_type", 1) != 1:
        raise context.refuse(f"has stash_type {context.attribute('stash_type', 1)}; known is 1 (float32)")
    axis = context.axis(int(context.attribute("axis", -1)), context.rank())
    epsilon, wants_statistics = _epsilon(context), context.has_output(1) or context.has_output(2)
    normalized = tuple(context.size(0, position) for position in range(axis, context.rank()))
    plain_shapes = all(context.shape(i) == normalized for i in (1, 2) if context.has_input(i))
    if plain_shapes and axis > 0 and not wants_statistics:
        return lambda x, scale, bias=None: F.layer_norm(x, normalized, scale, bias, epsilon)
    dims = tuple(range(axis, context.rank()))

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(wide, dim=dims, correction=0, keepdim=True)
        inverse = torch.rsqrt(variance + epsilon)
        scaled = ((wide - mean) * inverse).to(x.dtype) * scale
        result = scaled if bias is None else scaled + bias
        return (result, mean, inverse) if wants_statistics else result

    return run


def _instance_norm(context: NodeContext) -> Kernel:
    channels, epsilon = context.size(0, 1), _epsilon(context)
    return lambda x, scale, bias: torch.group_norm(x, channels, scale, bias, epsilon)


def _group_norm(context: NodeContext) -> Kernel:
    if context.opset < 21 or context.attribute("stash_type", 1) != 1:
        raise context.refuse("scales whole groups (opset 18 to 20) or has another stash_type than 1")
    groups, epsilon = int(context.attribute("num_groups", 0)), _epsilon(context)
    return lambda x, scale, bias: torch.group_norm(x, groups, scale, bias, epsilon)


def _dropout(context: NodeContext) -> Kernel:
    training = context.constant(2)
    if training is not None and bool(training):
        raise context.refuse("drops at random (training_mode is true); export the model in evaluation mode")
    if context.has_output(1):
        return lambda x: (x, torch.ones_like(x, dtype=torch.bool))
    return lambda x: x


NORMALIZATION = {
    "BatchNormalization": Operator(
        build=_batch_norm,
        known=15,
        attributes=frozenset({"epsilon", "momentum", "training_mode"}),
        trained=(1, 2),
        statistics=(3, 4),
        uses_mode=True,
    ),
    "LayerNormalization": Operator(
        build=_layer_norm, known=17, attributes=frozenset({"axis", "epsilon", "stash_type"}), trained=(1, 2)
    ),
    "InstanceNormalization": Operator(
        build=_instance_norm, known=22, attributes=frozenset({"epsilon"}), trained=(1, 2)
    ),
    "GroupNormalization": Operator(
        build=_group_norm, known=21, attributes=frozenset({"epsilon", "num_groups", "stash_type"}), trained=(1, 2)
    ),
    # ratio and seed only matter where something is dropped
    "Dropout": Operator(build=_dropout, known=22, attributes=frozenset({"ratio", "seed"}), static=(1, 2)),
}
