"""Two convolutions in a row as one: its kernel is the convolution of their kernels.

Along one axis, with kernel l, stride s, padding p and dilation d, the second reads the first's position
i = o s2 - p2 + j d2, which reads the image's position i s1 - p1 + l d1. So the one layer has stride s1 s2, padding
p2 s1 + p1, and taps at the distances j d2 s1 + l d1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploycompress.graph import Array, Node, Shape
from deploycompress.surgery.fold import DEFAULT_EPSILON
from deploycompress.surgery.merge_linear_pair import Exact, Merge, Neighbours, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A convolution along one axis of the image: taps of its kernel and their distance, steps, zeros on each side."""

    kernel: int
    dilation: int
    stride: int
    before: int
    after: int

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1


SINGLE = Axis(kernel=1, dilation=1, stride=1, before=0, after=0)
"""Each position on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution with constant weights.

    Attributes:
        weight: shape [outputs, inputs / groups, *kernel].
        bias: shape [outputs], or nothing.
        groups: of its channels.
        axes: of the image.
    """

    weight: Array
    bias: Array | None
    groups: int
    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Count its parameters."""
        return self.weight.size + (0 if self.bias is None else self.bias.size)


def merge_convolutions(around: Neighbours, second: Node) -> Merge | None:
    """Merge a convolution with the convolution or batch norm before it."""
    first = around.before(second)
    if first is None:
        return None
    outer = read_convolution(around, second)
    inner = read_convolution(around, first) if first.op == "Conv" else _read_norm(around, first, second)
    if inner is None or outer is None or not pays(around, (first, inner), (second, outer)):
        return None
    sizes = [around.graph.known_shape_of(name) for name in (first.input(0), first.outputs[0], second.outputs[0])]
    dtype = around.graph.weights[second.input(1)].dtype
    merged = compose(inner, outer, dtype) if _have_same_borders(inner, outer, sizes) else None
    if merged is None:
        return None
    node = with_convolution(second, first.input(0), merged)
    return Merge(nodes={first.name: (), second.name: (node,)}, weights=merged_weights(node, merged))


def read_convolution(around: Neighbours, node: Node) -> Convolution | None:
    """Read a node as a convolution; nothing where its weights are no constants of its own or padding is implied."""
    weight = around.constant(node.input(1))
    bias = around.constant(node.input(2)) if node.input(2) else None
    if node.op != "Conv" or weight is None or (node.input(2) and bias is None):
        return None
    found, rank = node.attributes, weight.ndim - 2
    pads = _integers(found, "pads", 2 * rank, 0)
    is_direct = all(name in around.graph.weights for name in node.inputs[1:] if name)
    if rank < 1 or not is_direct or has_implied_padding(node) or min(pads) < 0:
        return None
    steps = zip(
        weight.shape[2:],
        _integers(found, "dilations", rank, 1),
        _integers(found, "strides", rank, 1),
        pads[:rank],
        pads[rank:],
        strict=True,
    )
    axes = tuple(Axis(kernel=k, dilation=d, stride=s, before=p, after=q) for k, d, s, p, q in steps)
    return Convolution(weight=weight, bias=bias, groups=int(found.get("group", 1)), axes=axes)


def has_implied_padding(node: Node) -> bool:
    """Whether the padding of a window follows from the sizes rather than being told."""
    return node.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET")


def _read_norm(around: Neighbours, norm: Node, reader: Node) -> Convolution | None:
    """Read a batch norm as the factor and shift that it has for each channel, on an image of as many axes as follow."""
    constants = [around.constant(name) for name in norm.inputs[1:5]]
    if norm.op != "BatchNormalization" or any(norm.outputs[1:]) or any(array is None for array in constants):
        return None
    scale, shift, mean, variance = (array.astype(np.float64) for array in constants if array is not None)
    factor = scale / np.sqrt(variance + float(norm.attributes.get("epsilon", DEFAULT_EPSILON)))
    rank = around.graph.weights[reader.input(1)].ndim - 2
    return Convolution(
        weight=factor.reshape(-1, 1, *[1] * rank),
        bias=shift - mean * factor,
        groups=len(factor),
        axes=(SINGLE,) * rank,
    )


def compose(inner: Convolution, outer: Convolution, dtype: np.dtype[Any]) -> Convolution | None:  # Any: a scalar type
    """Give the one convolution that computes both, in a type of weights; nothing where a value is beyond the type."""
    axes = tuple(_along(a, b) for a, b in zip(inner.axes, outer.axes, strict=True))
    groups = math.gcd(inner.groups, outer.groups)
    read = _by_group(inner.weight, inner.groups, groups)
    made = _by_group(outer.weight, outer.groups, groups)
    weight = stored(_composed(read, made, inner.axes, outer.axes, axes), dtype)
    exact = _composed_bias(inner.bias, made, outer.bias)
    bias = None if exact is None else stored(exact, dtype)
    if weight is None or (exact is not None and bias is None):
        return None
    return Convolution(weight=weight, bias=bias, groups=groups, axes=axes)


def pays(around: Neighbours, first: tuple[Node, Convolution], second: tuple[Node, Convolution]) -> bool:
    """Whether the one layer has no more multiply-accumulates and no more parameters than the two."""
    between, output = (
        around.graph.known_shape_of(first[0].outputs[0]),
        around.graph.known_shape_of(second[0].outputs[0]),
    )
    if between is None or output is None:
        return False
    inner, outer = first[1], second[1]
    inputs = inner.weight.shape[1] * inner.groups // math.gcd(inner.groups, outer.groups)
    taps = math.prod(_along(a, b).kernel for a, b in zip(inner.axes, outer.axes, strict=True))
    weights = len(outer.weight) * inputs * taps
    biases = 0 if inner.bias is None and outer.bias is None else len(outer.weight)
    before, after = math.prod(between[2:]), math.prod(output[2:])
    is_lighter = weights * after <= inner.weight.size * before + outer.weight.size * after
    return bool(is_lighter and weights + biases <= inner.size + outer.size)


def with_convolution(node: Node, entry: str, convolution: Convolution) -> Node:
    """Make a node compute another convolution of a tensor; its weight keeps its name."""
    axes = convolution.axes
    bias = () if convolution.bias is None else (node.input(2) or f"{node.name}.merged_bias",)
    return replace(
        node,
        inputs=(entry, node.input(1), *bias),
        attributes={
            "kernel_shape": [axis.kernel for axis in axes],
            "dilations": [axis.dilation for axis in axes],
            "strides": [axis.stride for axis in axes],
            "pads": [*(axis.before for axis in axes), *(axis.after for axis in axes)],
            "group": convolution.groups,
        },
    )


def merged_weights(node: Node, convolution: Convolution) -> dict[str, Array]:
    """Give the constants of a node that `with_convolution` made."""
    arrays = [array for array in (convolution.weight, convolution.bias) if array is not None]
    return dict(zip(node.inputs[1:], arrays, strict=True))


def _integers(found: Mapping[str, Any], name: str, count: int, default: int) -> Sequence[int]:  # Any: as above
    return [int(value) for value in found.get(name) or [default] * count]


def _have_same_borders(inner: Convolution, outer: Convolution, sizes: Sequence[Shape | None]) -> bool:
    along = zip(*(size[2:] for size in sizes if size is not None), strict=True)
    has_bias = inner.bias is not None  # one that is zero today is trained tomorrow
    pairs = zip(inner.axes, outer.axes, along, strict=True)
    return None not in sizes and all(_has_same_border(a, b, size, has_bias) for a, b, size in pairs)


def _has_same_border(inner: Axis, outer: Axis, sizes: Sequence[int], has_bias: bool) -> bool:
    """Whether the one layer finds zeros wherever the second pads.

    Beyond the first layer's ends it finds the first's bias, and what the first's kernel still reaches of the image.

    Args:
        inner: the first along an axis.
        outer: the second.
        sizes: of what the first reads, of what it makes, and of what the second makes.
        has_bias: whether the first has one.
    """
    entry, between, output = sizes
    read = {o * outer.stride - outer.before + j * outer.dilation for o in range(output) for j in range(outer.kernel)}
    beyond = [i for i in read if not 0 <= i < between]
    reached = {i * inner.stride - inner.before + j * inner.dilation for i in beyond for j in range(inner.kernel)}
    return not beyond or not (has_bias or any(0 <= place < entry for place in reached))


def _along(inner: Axis, outer: Axis) -> Axis:
    extent = (outer.extent - 1) * inner.stride + inner.extent
    dilation = _distance(inner, outer)
    return Axis(
        kernel=(extent - 1) // dilation + 1,
        dilation=dilation,
        stride=inner.stride * outer.stride,
        before=outer.before * inner.stride + inner.before,
        after=outer.after * inner.stride + inner.after,
    )


def _distance(inner: Axis, outer: Axis) -> int:
    """Give the largest distance that all taps are multiples of."""
    near = inner.dilation if inner.kernel > 1 else 0
    far = outer.dilation * inner.stride if outer.kernel > 1 else 0
    return math.gcd(near, far) or 1


def _by_group(weight: Array, groups: int, common: int) -> Exact:
    """Write a kernel of many groups as one of fewer, with zeros between the groups that come together.

    Returns:
        Shape [common, outputs / common, inputs / common, *kernel].
    """
    together = groups // common
    outputs, inputs, *kernel = weight.shape
    parts = weight.astype(np.float64).reshape(common, together, outputs // groups, inputs, *kernel)
    whole = np.zeros((common, together, outputs // groups, together, inputs, *kernel))
    for group in range(together):
        whole[:, group, :, group] = parts[:, group]
    return whole.reshape(common, outputs // common, together * inputs, *kernel)


def _composed(read: Exact, made: Exact, inner: Sequence[Axis], outer: Sequence[Axis], axes: Sequence[Axis]) -> Exact:
    common, outputs, inputs = made.shape[0], made.shape[1], read.shape[2]
    whole = np.zeros((common, outputs, inputs, *(axis.kernel for axis in axes)))
    for far in np.ndindex(*made.shape[3:]):
        for near in np.ndindex(*read.shape[3:]):
            place = tuple(
                (j * second.dilation * first.stride + i * first.dilation) // axis.dilation
                for i, j, first, second, axis in zip(near, far, inner, outer, axes, strict=True)
            )
            whole[(..., *place)] += made[(..., *far)] @ read[(..., *near)]
    return whole.reshape(common * outputs, inputs, *whole.shape[3:])


def _composed_bias(bias: Array | None, made: Exact, own: Array | None) -> Exact | None:
    """Give what the second makes of the first's bias, which reaches every tap, with its own."""
    if bias is None:
        return None if own is None else own.astype(np.float64)
    total = made.sum(axis=tuple(range(3, made.ndim)))
    through: Exact = (total @ bias.astype(np.float64).reshape(len(made), -1, 1)).reshape(-1)
    return through if own is None else through + own.astype(np.float64)
