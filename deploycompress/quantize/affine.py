"""The arithmetic of 8-bit numbers: real = scale * (code - zero point) (Jacob et al. 2018, eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploycompress.graph import Array
from deploycompress.network.qdq_pairs import largest_weight_code
from deploycompress.profile_precision import Int8Format

SMALLEST = float(np.finfo(np.float32).tiny)
"""Below it, float32 has no full precision: what is smaller is zero to a quantised network."""
LARGEST_BIAS_CODE = 2**30
"""Half of what an int32 holds, so that sums of products find room beside the bias."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Scale and zero point of a tensor, shapes [] or [channels]; the zero point has the element type of the codes."""

    scale: Array
    zero_point: Array


def activation_affine(low: float, high: float, form: Int8Format) -> Affine:
    """Choose scale and zero point so that an interval, widened to hold zero, is covered.

    An interval of one value is given a scale of which the value is a multiple by a power of two, so that it comes
    out exactly.

    Args:
        low: smallest value that shall be told apart.
        high: largest value, at least `low`.
        form: element type and symmetry.
    """
    lowest, highest = (0, 255) if form.activations == "uint8" else (-128, 127)
    middle = (lowest + highest + 1) // 2
    if low == high and abs(low) >= SMALLEST * 128:
        zero_point = lowest if low > 0 and not form.symmetric_activations else middle
        return _affine(abs(low) / (64 if form.symmetric_activations else 128), zero_point, form)
    low, high = min(low, 0.0), max(high, 0.0)
    if form.symmetric_activations:
        step = max(-low, high) / 127
        return _affine(step if step >= SMALLEST else 1.0, middle, form)
    step = (high - low) / 255
    if step < SMALLEST:
        return _affine(1.0, lowest, form)
    return _affine(step, round(lowest - low / step), form)


def _affine(scale: float, zero_point: int, form: Int8Format) -> Affine:
    code = np.uint8 if form.activations == "uint8" else np.int8
    return Affine(scale=np.asarray(scale, np.float32), zero_point=np.asarray(zero_point, code))


def within(affine: Affine, bounds: tuple[float, float]) -> Affine:
    """Narrow a scale until no code stands for a value outside of bounds, so that a Clip to them can vanish.

    A rounded zero point puts one end of the codes up to half a step beyond the range that they were made for.
    """
    limits, zero_point = np.iinfo(affine.zero_point.dtype), int(affine.zero_point)
    low, high = bounds
    below, above = zero_point - limits.min, limits.max - zero_point
    largest = [float(affine.scale)]
    largest += [-low / below] if below and -np.inf < low < 0 else []
    largest += [high / above] if above and 0 < high < np.inf else []
    return Affine(scale=np.asarray(min(largest), np.float32), zero_point=affine.zero_point)


def weight_affine(weight: Array, axis: int | None, form: Int8Format) -> Affine:
    """Choose the scale of a weight so that its largest magnitude has the largest code; the zero point is zero.

    Args:
        weight: float32.
        axis: axis whose positions have scales of their own, or None.
        form: whether weights use 7 bits only.
    """
    others = tuple(range(weight.ndim)) if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others, initial=0.0).astype(np.float64) / largest_weight_code(form)
    scale = np.where(scale < SMALLEST, 1.0, scale).astype(np.float32)
    return Affine(scale=scale, zero_point=np.zeros(scale.shape, np.int8))


def scale_for_bias(affine: Affine, input_scale: Array, bias: Array) -> Array:
    """Give the smallest scale of a weight at which the bias, in steps of it times the input's, fits into an int32.

    Args:
        affine: of the weight.
        input_scale: of the layer's input, shape [].
        bias: float32, shape [channels].

    Returns:
        float64, shape of the weight's scale.
    """
    magnitude = np.abs(bias.astype(np.float64))
    magnitude = magnitude if affine.scale.ndim else magnitude.max(initial=0.0)
    return np.asarray(magnitude / LARGEST_BIAS_CODE / np.float64(input_scale))


def widened(affine: Affine, needed: Array, *, is_empty: Array) -> Affine:
    """Widen a weight's scale where the biases of the layers that read it need more.

    That happens where a channel's weights are all but zero beside its bias. Where they are zero altogether, any scale
    will do, and the finest is taken, because the bias is rounded to it.

    Args:
        affine: of the weight.
        needed: smallest scale that will do, shape of the scale.
        is_empty: whether all weights under a scale are zero, shape of the scale.
    """
    scale = np.where(is_empty & (needed > SMALLEST), needed, np.maximum(affine.scale, needed))
    return Affine(scale=scale.astype(np.float32), zero_point=affine.zero_point)


def codes(array: Array, affine: Affine, axis: int | None) -> Array:
    """Round to codes as ONNX's QuantizeLinear does: divide in float32, round halves to even, saturate."""
    limits = np.iinfo(affine.zero_point.dtype)
    scale, zero_point = (_along(part, array.ndim, axis) for part in (affine.scale, affine.zero_point))
    rounded = np.rint(array / scale) + zero_point.astype(np.float32)
    found: Array = np.clip(rounded, limits.min, limits.max).astype(affine.zero_point.dtype)
    return found


def bias_codes(bias: Array, scale: Array) -> Array:
    """Round a bias to int32 in steps of a scale, shapes [channels]; the zero point is zero."""
    limits = np.iinfo(np.int32)
    found: Array = np.clip(np.rint(bias.astype(np.float64) / scale), limits.min, limits.max).astype(np.int32)
    return found


def _along(part: Array, ndim: int, axis: int | None) -> Array:
    return part if axis is None or part.ndim == 0 else part.reshape([-1 if i == axis else 1 for i in range(ndim)])
