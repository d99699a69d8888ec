"""Resize by nearest and linear interpolation, one axis at a time, with ONNX's own coordinate formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator

Points = NDArray[np.float64]

_ROUNDINGS: Mapping[str, Callable[[Points], Points]] = {
    "round_prefer_floor": lambda points: np.ceil(points - 0.5),
    "round_prefer_ceil": lambda points: np.floor(points + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(context: NodeContext) -> Kernel:
    mode = context.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise context.refuse(f"interpolates by {mode!r}; known are 'nearest' and 'linear'")
    if context.attribute("antialias", 0) or context.attribute("exclude_outside", 0):
        raise context.refuse("weighs its neighbours anew (antialias or exclude_outside)")
    steps = []
    for axis, (size, out, scale) in enumerate(_targets(context)):
        if out == size and scale == 1.0:
            continue
        if axis == 0 and size == 1:
            raise context.refuse("resizes the batch axis")
        points = _source_points(context, size, out, scale)
        steps.append((axis, *(_nearest(context, points, size) if mode == "nearest" else _linear(points, size))))

    def run(x: Tensor) -> Tensor:
        for axis, lower, upper, share in steps:
            low = x.index_select(axis, torch.tensor(lower, device=x.device))
            if share is None:
                x = low
                continue
            high = x.index_select(axis, torch.tensor(upper, device=x.device))
            shape = [-1] + [1] * (x.ndim - 1 - axis)
            x = low + (high - low) * torch.tensor(share, dtype=x.dtype, device=x.device).reshape(shape)
        return x

    return run


def _targets(context: NodeContext) -> list[tuple[int, int, float]]:
    """Give (size, new size, scale) for every axis."""
    shape = context.shape(0)
    axes = [context.axis(axis, len(shape)) for axis in context.ints("axes", range(len(shape)))]
    scales, sizes = context.constant(2), context.constant_ints(3)
    result = [(size, size, 1.0) for size in shape]
    if sizes:
        wanted = _kept_aspect(context, [shape[axis] for axis in axes], list(sizes))
        for axis, (out, scale) in zip(axes, wanted, strict=True):
            result[axis] = (shape[axis], out, scale)
    elif scales is not None and scales.size:
        for axis, factor in zip(axes, map(float, scales), strict=True):
            result[axis] = (shape[axis], math.floor(shape[axis] * factor), factor)
    else:
        raise context.refuse("has neither scales nor sizes")
    return result


def _kept_aspect(context: NodeContext, old: list[int], new: list[int]) -> list[tuple[int, float]]:
    policy = context.text("keep_aspect_ratio_policy", "stretch")
    ratios = [out / size for size, out in zip(old, new, strict=True)]
    if policy == "stretch":
        return list(zip(new, ratios, strict=True))
    if policy not in ("not_larger", "not_smaller"):
        raise context.refuse(f"has keep_aspect_ratio_policy {policy!r}")
    common = min(ratios) if policy == "not_larger" else max(ratios)
    return [(math.floor(common * size + 0.5), common) for size in old]


def _source_points(context: NodeContext, size: int, out: int, scale: float) -> Points:
    """Say which place of the input each output element looks at (ONNX, Resize, coordinate_transformation_mode)."""
    mode = context.text("coordinate_transformation_mode", "half_pixel")
    places = np.arange(out, dtype=np.float64)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        return (places + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel" or (mode == "align_corners" and out == 1):
        return np.zeros(out)
    if mode == "align_corners":
        if abs(size * scale - out) > 1e-6 * out:  # ONNX aligns with the fractional end, torch and ONNX Runtime do not
            raise context.refuse(f"aligns corners while {size} times {scale:g} is no whole number")
        return places * (size - 1) / (out - 1)
    if mode == "asymmetric":
        return places / scale
    if mode == "half_pixel_symmetric":
        centre = size / 2 * (1 - out / (scale * size))
        return centre + (places + 0.5) / scale - 0.5
    raise context.refuse(f"has coordinate_transformation_mode {mode!r}")


def _nearest(context: NodeContext, points: Points, size: int) -> tuple[list[int], None, None]:
    rounding = context.text("nearest_mode", "round_prefer_floor")
    if rounding not in _ROUNDINGS:
        raise context.refuse(f"has nearest_mode {rounding!r}; known are {', '.join(_ROUNDINGS)}")
    return np.clip(_ROUNDINGS[rounding](points), 0, size - 1).astype(int).tolist(), None, None


def _linear(points: Points, size: int) -> tuple[list[int], list[int], list[float]]:
    inside = np.clip(points, 0, size - 1)
    lower = np.floor(inside).astype(int)
    upper = np.minimum(lower + 1, size - 1)
    return lower.tolist(), upper.tolist(), (inside - lower).tolist()


RESIZE = {
    # roi, extrapolation_value and cubic_coeff_a belong to modes that are refused
    "Resize": Operator(
        build=_resize,
        known=19,
        attributes=frozenset(
            {
                "antialias",
                "axes",
                "coordinate_transformation_mode",
                "cubic_coeff_a",
                "exclude_outside",
                "extrapolation_value",
                "keep_aspect_ratio_policy",
                "mode",
                "nearest_mode",
            }
        ),
        static=(1, 2, 3),
    ),
}
