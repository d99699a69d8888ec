"""QuantizeLinear and DequantizeLinear with straight-through gradients, so that a quantised graph can be trained.

Between the two a value is a float tensor that holds integers. Where nothing but dequantisers with the quantiser's own
scale and zero point reads it, the quantiser makes the real number at once and they hand it on: a fused fake
quantisation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from onnx import TensorProto
from torch import Tensor

from deploycompress.graph import Graph, Node
from deploycompress.network.arrays import TORCH_TYPES
from deploycompress.network.operator import Kernel, NodeContext, Operator

_DEFAULT_AXIS = 1


class _FakeQuantize(torch.autograd.Function):
    """Round to a grid and back; gradients pass unless the value was clipped (Bengio et al. 2013; Jacob et al. 2018)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:  # Any: torch's own context
        ctx.save_for_backward(x, scale, zero)
        return _whole_steps(x, scale, zero).mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # Any: torch's own context
        return _where_not_clipped(gradients[0], *ctx.saved_tensors), None, None


class _Quantize(torch.autograd.Function):
    """Give the integers of a grid, as floats; gradients as if nothing were rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:  # Any: torch's own context
        ctx.save_for_backward(x, scale, zero)
        return _whole_steps(x, scale, zero).add_(zero)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # Any: torch's own context
        x, scale, zero = ctx.saved_tensors
        return (_where_not_clipped(gradients[0], x.float(), scale, zero) / scale).to(x.dtype), None, None


def _whole_steps(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Count the steps of the grid between zero and each value, in float32 also where the network computes in less."""
    steps = x / scale if x.dtype == torch.float32 else x.float().div_(scale)  # in place: fresh memory costs more
    return steps.round_().clamp_(*_ends(zero))


def _ends(zero: Tensor) -> tuple[Any, Any]:  # Any: numbers for one grid (six times as fast), tensors for several
    """Give the ends of the integer type's range in steps from the zero point."""
    limits = torch.iinfo(zero.dtype)
    base = zero.float() if zero.ndim else zero.item()
    return limits.min - base, limits.max - base


def _where_not_clipped(gradient: Tensor, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    low, high = _ends(zero)
    if not zero.ndim:
        step = scale.item()
        # gradients that lie in memory otherwise than the values would slow down everything before them
        passed = torch.empty_like(x)
        torch.ops.aten.hardtanh_backward.grad_input(
            gradient, x, (low - 0.5) * step, (high + 0.5) * step, grad_input=passed
        )
        return passed
    is_inside = (x > (low - 0.5) * scale) & (x < (high + 0.5) * scale)
    return torch.where(is_inside, gradient, gradient.new_zeros(()))


def _quantize_linear(context: NodeContext) -> Kernel:
    _check_form(context)
    grid = _grid_shape(context)
    wanted = TORCH_TYPES[int(context.attribute("output_dtype", 0)) or TensorProto.UINT8]
    stays_float, is_fused = _stays_float(context.graph, context.node), is_fake(context.graph, context.node)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        base = torch.zeros((), dtype=wanted, device=x.device) if zero is None else zero.reshape(grid)
        kept = torch.float32 if stays_float else base.dtype
        if x.is_meta:  # no numbers there that the zero point could be read from
            return torch.empty_like(x, dtype=x.dtype if is_fused else kept)
        step = scale.reshape(grid).float()
        if is_fused:
            return _FakeQuantize.apply(x, step, base)  # type: ignore[no-any-return]
        return _Quantize.apply(x, step, base).to(kept)  # type: ignore[no-any-return]

    return run


def _dequantize_linear(context: NodeContext) -> Kernel:
    _check_form(context)
    if any(context.node.inputs[0] in node.outputs and is_fake(context.graph, node) for node in context.graph.nodes):
        return lambda x, *_grid: x
    grid = _grid_shape(context)
    wanted = int(context.attribute("output_dtype", 0))

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        whole = x if x.is_floating_point() else x.to(torch.int32)
        steps = whole if zero is None else whole - zero.reshape(grid)
        return (steps.float() * scale.reshape(grid).float()).to(TORCH_TYPES[wanted] if wanted else scale.dtype)

    return run


def is_fake(graph: Graph, node: Node) -> bool:
    """Say whether a node is a quantiser that all readers of its result undo with its own scale and zero point."""
    if node.op != "QuantizeLinear" or not node.is_standard or not _stays_float(graph, node):
        return False
    grid = (node.inputs[1:], node.attributes.get("axis", _DEFAULT_AXIS))
    return all(
        (reader.inputs[1:], reader.attributes.get("axis", _DEFAULT_AXIS)) == grid
        and not reader.attributes.get("output_dtype", 0)
        for reader in graph.nodes
        if node.outputs[0] in reader.reads
    )


def _stays_float(graph: Graph, node: Node) -> bool:
    """Say whether nobody but dequantisers reads a quantiser's result."""
    name = node.outputs[0]
    if any(port.name == name for port in graph.outputs):
        return False
    return all(reader.op == "DequantizeLinear" and reader.is_standard for reader in graph.nodes if name in reader.reads)


def _grid_shape(context: NodeContext) -> tuple[int, ...]:
    """Give the shape that scale and zero point broadcast with: none for one grid, else the channels on their axis."""
    sizes = context.shape(1)
    if math.prod(sizes) == 1:
        return ()
    rank = context.rank(0)
    axis = context.axis(int(context.attribute("axis", _DEFAULT_AXIS)), rank)
    return tuple(sizes[0] if at == axis else 1 for at in range(rank))


def _check_form(context: NodeContext) -> None:
    if context.attribute("block_size", 0) or len(context.shape(1)) > 1:
        raise context.refuse("has a scale for each block of values; known are one for all, and one for each channel")
    if context.attribute("precision", 0) not in (0, TensorProto.FLOAT):
        raise context.refuse("does not divide in single precision")
    wanted = int(context.attribute("output_dtype", 0))
    if wanted and wanted not in TORCH_TYPES:
        raise context.refuse(f"gives ONNX element type {wanted}, which torch cannot compute with")


QUANTIZATION = {
    "QuantizeLinear": Operator(
        build=_quantize_linear,
        known=28,
        attributes=frozenset({"axis", "block_size", "output_dtype", "precision", "saturate"}),
        moves=(0,),
        scales=(1, 2),
    ),
    "DequantizeLinear": Operator(
        build=_dequantize_linear,
        known=28,
        attributes=frozenset({"axis", "block_size", "output_dtype"}),
        moves=(0,),
        scales=(1, 2),
    ),
}
