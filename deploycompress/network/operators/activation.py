"""Activation functions: elementwise, one input, differentiable almost everywhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import Kernel, NodeContext, Operator, plain


def _clip(context: NodeContext) -> Kernel:
    low, high = context.constant(1), context.constant(2)
    lowest = None if low is None else low.item()
    highest = None if high is None else high.item()
    if lowest is None and highest is None:
        return lambda x: x
    return lambda x: torch.clamp(x, lowest, highest)


def _hard_sigmoid(context: NodeContext) -> Kernel:
    alpha, beta = float(context.attribute("alpha", 0.2)), float(context.attribute("beta", 0.5))
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _elu(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 1.0))
    return lambda x: F.elu(x, alpha)


def _celu(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 1.0))
    return lambda x: F.celu(x, alpha)


def _selu(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 1.6732631921768188))
    gamma = float(context.attribute("gamma", 1.0507010221481323))
    return lambda x: gamma * F.elu(x, alpha)


def _leaky_relu(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 0.01))
    return lambda x: F.leaky_relu(x, alpha)


def _thresholded_relu(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 1.0))
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


def _gelu(context: NodeContext) -> Kernel:
    approximate = context.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise context.refuse(f"approximates by {approximate!r}; known are 'none' and 'tanh'")
    return lambda x: F.gelu(x, approximate=approximate)


def _swish(context: NodeContext) -> Kernel:
    alpha = float(context.attribute("alpha", 1.0))
    return F.silu if alpha == 1.0 else lambda x: x * torch.sigmoid(alpha * x)


def _softmax(context: NodeContext) -> Kernel:
    return _over_axis(context, torch.softmax)


def _log_softmax(context: NodeContext) -> Kernel:
    return _over_axis(context, torch.log_softmax)


def _over_axis(context: NodeContext, function: Kernel) -> Kernel:
    axis = context.axis(int(context.attribute("axis", -1 if context.opset >= 13 else 1)), context.rank())
    if context.opset >= 13 or axis == context.rank() - 1:
        return lambda x: function(x, dim=axis)

    def run_flattened(x: Tensor) -> Tensor:  # before opset 13 every axis from `axis` on is normalised together
        result: Tensor = function(x.flatten(axis), dim=axis)
        return result.reshape(x.shape)

    return run_flattened


def _prelu(_context: NodeContext) -> Kernel:
    return lambda x, slope: torch.where(x > 0, x, slope * x)


_ALPHA = frozenset({"alpha"})
_AXIS = frozenset({"axis"})

ACTIVATION = {
    "Relu": Operator(build=plain(torch.relu), known=14),
    "Sigmoid": Operator(build=plain(torch.sigmoid), known=13),
    "Tanh": Operator(build=plain(torch.tanh), known=13),
    "Softplus": Operator(build=plain(F.softplus), known=22),
    "Softsign": Operator(build=plain(F.softsign), known=22),
    "HardSwish": Operator(build=plain(F.hardswish), known=22),
    "Mish": Operator(build=plain(F.mish), known=22),
    "Clip": Operator(build=_clip, known=13, static=(1, 2)),
    "HardSigmoid": Operator(build=_hard_sigmoid, known=22, attributes=_ALPHA | {"beta"}),
    "Elu": Operator(build=_elu, known=22, attributes=_ALPHA),
    "Celu": Operator(build=_celu, known=28, attributes=_ALPHA),
    "Selu": Operator(build=_selu, known=22, attributes=_ALPHA | {"gamma"}),
    "LeakyRelu": Operator(build=_leaky_relu, known=16, attributes=_ALPHA),
    "ThresholdedRelu": Operator(build=_thresholded_relu, known=22, attributes=_ALPHA),
    "PRelu": Operator(build=_prelu, known=16, trained=(1,)),
    "Gelu": Operator(build=_gelu, known=20, attributes=frozenset({"approximate"})),
    "Swish": Operator(build=_swish, known=24, attributes=_ALPHA),
    "Softmax": Operator(build=_softmax, known=13, attributes=_AXIS),
    "LogSoftmax": Operator(build=_log_softmax, known=13, attributes=_AXIS),
}
