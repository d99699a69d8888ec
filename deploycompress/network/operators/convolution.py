"""Convolution and its transpose in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import Kernel, NodeContext, Operator
from deploycompress.network.operators.windows import WINDOW_ATTRIBUTES, Axis, torch_pads, window_axes

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_NEARLY_DEPTHWISE = 2
"""Channels that a filter of such a convolution reads at most."""
_USUAL_KERNEL = 3


def _kernel_shape(context: NodeContext) -> tuple[int, ...]:
    shape = context.shape(1)[2:]
    if context.ints("kernel_shape", shape) != shape:
        raise context.refuse(f"says kernel_shape {context.ints('kernel_shape', shape)} but its weight has {shape}")
    if len(shape) not in _CONVOLUTIONS:
        raise context.refuse(f"convolves {len(shape)} axes; known are 1, 2 and 3")
    return shape


def _convolution(context: NodeContext) -> Kernel:
    axes = window_axes(context, _kernel_shape(context))
    convolve = _CONVOLUTIONS[len(axes)]
    if _is_slow_in_bf16(context, axes):
        convolve = _in_single_precision(convolve)
    groups = int(context.attribute("group", 1))
    stride = tuple(axis.stride for axis in axes)
    dilation = tuple(axis.dilation for axis in axes)
    if all(axis.before == axis.after >= 0 for axis in axes):
        padding = tuple(axis.before for axis in axes)

        def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return convolve(x, weight, bias, stride, padding, dilation, groups)

        return run
    pads = torch_pads((axis.before, axis.after) for axis in axes)

    def run_padded(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return convolve(F.pad(x, pads), weight, bias, stride, 0, dilation, groups)

    return run_padded


def _is_slow_in_bf16(context: NodeContext, axes: Sequence[Axis]) -> bool:
    """Whether torch's processor kernels for bfloat16 lack a fast gradient; see `docs/recover.md` for times."""
    is_usual = all(axis.stride == axis.dilation == 1 and axis.kernel <= min(_USUAL_KERNEL, axis.size) for axis in axes)
    return int(context.attribute("group", 1)) > 1 and context.shape(1)[1] <= _NEARLY_DEPTHWISE and not is_usual


def _in_single_precision(convolve: Kernel) -> Kernel:
    """Let a convolution ignore on the processor that others are carried out in bfloat16."""

    def run(x: Tensor, weight: Tensor, bias: Tensor | None, *how: object) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            as_it_is: Tensor = convolve(x, weight, bias, *how)
            return as_it_is
        with torch.autocast("cpu", enabled=False):
            found: Tensor = convolve(x.float(), weight.float(), None if bias is None else bias.float(), *how)
        return found.to(torch.get_autocast_dtype("cpu"))

    return run


def _transposed_convolution(context: NodeContext) -> Kernel:
    kernel = _kernel_shape(context)
    convolve = _TRANSPOSED[len(kernel)]
    count = len(kernel)
    groups = int(context.attribute("group", 1))
    stride = context.ints("strides", [1] * count)
    dilation = context.ints("dilations", [1] * count)
    pads, extra = _transposed_pads(context, kernel, stride, dilation)
    if any(more >= max(step, spread) for more, step, spread in zip(extra, stride, dilation, strict=True)):
        raise context.refuse(f"adds {extra} behind its output, which must be less than the stride or the dilation")
    if all(before == after for before, after in pads):
        padding = tuple(before for before, _ in pads)

        def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            return convolve(x, weight, bias, stride, padding, extra, groups, dilation)

        return run
    crop = torch_pads((-before, -after) for before, after in pads)

    def run_cropped(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.pad(convolve(x, weight, bias, stride, 0, extra, groups, dilation), crop)

    return run_cropped


def _transposed_pads(
    context: NodeContext, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Give (before, after) per axis to cut off the output, and what torch shall add behind it."""
    count = len(kernel)
    extra = context.ints("output_padding", [0] * count)
    mode = context.text("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise context.refuse(f"has auto_pad {mode!r}; known are NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    wanted = _wanted_sizes(context, stride, mode)
    if wanted is None:
        given = (0,) * 2 * count if mode == "VALID" else context.ints("pads", [0] * 2 * count)
        return list(zip(given[:count], given[count:], strict=True)), extra
    pads, added = [], []
    for size, width, step, spread, more, out in zip(
        context.shape(0)[2:], kernel, stride, dilation, extra, wanted, strict=True
    ):
        total = step * (size - 1) + more + (width - 1) * spread + 1 - out
        added.append(more + max(-total, 0))
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        pads.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return pads, tuple(added)


def _wanted_sizes(context: NodeContext, stride: tuple[int, ...], mode: str) -> tuple[int, ...] | None:
    if "output_shape" in context.node.attributes:
        return context.ints("output_shape", [])[-len(stride) :]
    if mode.startswith("SAME"):
        return tuple(size * step for size, step in zip(context.shape(0)[2:], stride, strict=True))
    return None


CONVOLUTION = {
    "Conv": Operator(build=_convolution, known=22, attributes=WINDOW_ATTRIBUTES | {"group"}, trained=(1, 2)),
    "ConvTranspose": Operator(
        build=_transposed_convolution,
        known=22,
        attributes=WINDOW_ATTRIBUTES | {"group", "output_padding", "output_shape"},
        trained=(1, 2),
    ),
}
