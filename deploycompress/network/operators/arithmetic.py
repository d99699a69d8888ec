"""Elementwise arithmetic with broadcasting, type conversion and selection."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from deploycompress.network.arrays import TORCH_TYPES
from deploycompress.network.operator import Kernel, NodeContext, Operator, plain


def _folding(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[NodeContext], Kernel]:
    return lambda _context: lambda *tensors: functools.reduce(function, tensors)


def _mean(context: NodeContext) -> Kernel:
    count = len(context.node.inputs)
    return lambda *tensors: functools.reduce(torch.add, tensors) / count


def _divide(x: Tensor, y: Tensor) -> Tensor:
    # ONNX divides integers towards zero, torch's default makes floats of them
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _power(context: NodeContext) -> Kernel:
    exponent = context.scalar(1)
    if exponent is None:
        return lambda x, y: torch.pow(x, y).to(x.dtype)
    return lambda x, _y: torch.pow(x, exponent).to(x.dtype)


def _modulo(context: NodeContext) -> Kernel:
    return torch.fmod if context.attribute("fmod", 0) else torch.remainder


def _cast(context: NodeContext) -> Kernel:
    target = int(context.attribute("to", 0))
    if target not in TORCH_TYPES:
        raise context.refuse(f"converts to ONNX element type {target}, which torch cannot compute with")
    dtype = TORCH_TYPES[target]
    return lambda x: x.to(dtype)


ARITHMETIC = {
    "Abs": Operator(build=plain(torch.abs), known=13),
    "Neg": Operator(build=plain(torch.neg), known=13),
    "Reciprocal": Operator(build=plain(torch.reciprocal), known=13),
    "Erf": Operator(build=plain(torch.erf), known=13),
    "Exp": Operator(build=plain(torch.exp), known=13),
    "Log": Operator(build=plain(torch.log), known=13),
    "Sqrt": Operator(build=plain(torch.sqrt), known=13),
    "Mod": Operator(build=_modulo, known=28, attributes=frozenset({"fmod"})),
    "Pow": Operator(build=_power, known=15),
    "Add": Operator(build=plain(torch.add), known=14, trains_operands=True),
    "Sub": Operator(build=plain(torch.sub), known=14),
    "Mul": Operator(build=plain(torch.mul), known=14, trains_operands=True),
    "Div": Operator(build=plain(_divide), known=14),
    "Max": Operator(build=_folding(torch.maximum), known=13),
    "Min": Operator(build=_folding(torch.minimum), known=13),
    "Sum": Operator(build=_folding(torch.add), known=13),
    "Mean": Operator(build=_mean, known=13),
    "Where": Operator(build=plain(torch.where), known=16),
    # saturate and round_mode only speak of eight bit floats, which are refused as targets
    "Cast": Operator(build=_cast, known=28, attributes=frozenset({"to", "saturate", "round_mode"}), moves=(0,)),
}
