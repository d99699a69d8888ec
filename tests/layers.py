"""Layers of generated networks: each takes a builder, a tensor [N, C, H, H] and a number, and gives another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from deploycompress.graph import Graph
from tests.build import NetBuilder, start

Layer = Callable[[NetBuilder, str, int], str]


def split_and_swap(net: NetBuilder, x: str, first: int) -> str:
    """Split channels, treat one part, join them the other way round."""
    whole = net.conv(x, first + 3)
    parts = net.op("Split", whole, net.integers(first, 3), outputs=2, axis=1)
    left, right = parts, parts.replace("_0", "_1")
    net.width[left], net.width[right] = first, 3
    return net.op("Concat", right, net.op("Relu", left), axis=1, width=first + 3)


def shuffle(net: NetBuilder, x: str, _: int) -> str:
    """Exchange channels between two groups by reshape and transpose."""
    if net.width[x] % 2:
        return net.norm(x)
    half, size = net.width[x] // 2, net.size(x)
    split = net.op("Reshape", x, net.integers(0, 2, half, size, size))
    swapped = net.op("Transpose", split, perm=[0, 2, 1, 3, 4])
    return net.op("Reshape", swapped, net.integers(0, 2 * half, size, size), width=net.width[x])


def permute(net: NetBuilder, x: str, _: int) -> str:
    """Reorder the channels by a list of numbers."""
    order = net.rng.permutation(net.width[x])
    return net.op("Gather", x, net.integers(*map(int, order)), axis=1)


def grouped(net: NetBuilder, x: str, n: int) -> str:
    """Convolve in two groups, or in as many as leave one or two channels to a group."""
    groups = (2, 2, 4)[n % 3]
    wide = net.conv(x, 4 * groups if n % 2 else 2 * groups)
    return net.conv(wide, groups * n, group=groups)


def grouped_transposed(net: NetBuilder, x: str, n: int) -> str:
    """Convolve backwards in groups, many small ones or few large ones."""
    groups = 2 if n % 2 else 4
    wide = net.conv(x, 8)
    name = f"transposed{len(net.nodes)}"
    weight, bias = net.normal(f"{name}.weight", 8, n, 3, 3), net.normal(f"{name}.bias", n * groups)
    return net.op(
        "ConvTranspose", wide, weight, bias, width=n * groups, group=groups, pads=[1] * 4, kernel_shape=[3, 3]
    )


def group_norm(net: NetBuilder, x: str, n: int) -> str:
    """Normalise groups of channels as torch exports it: instance norm of a reshaped tensor."""
    groups, size = (1, 2, 4)[n % 3], net.size(x)
    x = net.conv(x, 8)
    name = f"group_norm{len(net.nodes)}"
    ones = net.weight(f"{name}.ones", np.ones(groups, np.float32))
    zeros = net.weight(f"{name}.zeros", np.zeros(groups, np.float32))
    flat = net.op("Reshape", x, net.integers(0, groups, -1))
    flat = net.op("InstanceNormalization", flat, ones, zeros, epsilon=0.1)
    whole = net.op("Reshape", flat, net.integers(0, 8, size, size), width=8)
    scaled = net.op("Mul", whole, net.normal(f"{name}.weight", 8, 1, 1))
    return net.op("Add", scaled, net.normal(f"{name}.bias", 8, 1, 1))


def layer_norm(net: NetBuilder, x: str, n: int) -> str:
    """Normalise over the channels at each position, as ConvNeXt does, with a linear layer in between."""
    name, width = f"layer_norm{len(net.nodes)}", net.width[x]
    last = net.op("Transpose", x, perm=[0, 2, 3, 1])
    if width > 1:
        scale, shift = net.normal(f"{name}.weight", width), net.normal(f"{name}.bias", width)
        last = net.op("LayerNormalization", last, scale, shift, axis=-1, epsilon=0.1)
    last = net.op("MatMul", last, turned(net, f"{name}.linear.weight", n + 1, width), width=n + 1)
    last = net.op("Add", net.normal(f"{name}.linear.bias", n + 1), last, width=n + 1)
    return net.op("Transpose", last, perm=[0, 3, 1, 2])


def turned(net: NetBuilder, name: str, outputs: int, inputs: int) -> str:
    """Add a linear layer's weight as torch stores it, turned before use."""
    weight = net.op("Cast", net.normal(name, outputs, inputs), to=1)
    return net.op("Transpose", weight, perm=[1, 0])


def rms_norm(net: NetBuilder, x: str, _: int) -> str:
    """Divide by the root of the mean square over channels, written out."""
    square = net.op("Pow", x, net.weight(f"two{len(net.nodes)}", np.asarray(2, np.float32)))
    mean = net.op("ReduceMean", square, axes=[1], keepdims=1)
    mean = net.op("Add", mean, net.weight(f"epsilon{len(net.nodes)}", np.asarray(0.1, np.float32)))
    return net.op(
        "Div", net.op("Mul", x, net.normal(f"gain{len(net.nodes)}", net.width[x], 1, 1)), net.op("Sqrt", mean)
    )


def unit_length(net: NetBuilder, x: str, _: int) -> str:
    """Divide by the Euclidean length over channels."""
    length = net.op("ReduceL2", x, axes=[1], keepdims=1)
    length = net.op("Add", length, net.weight(f"epsilon{len(net.nodes)}", np.asarray(0.5, np.float32)))
    return net.op("Div", x, length)


def attention(net: NetBuilder, x: str, n: int) -> str:
    """Attend between positions with two heads, a class token and a table of positions, as vision transformers do."""
    size, heads, width, name = net.size(x), 2, 3 + n, f"attention{len(net.nodes)}"
    tokens, inner = size * size + 1, heads * width
    flat = net.op("Transpose", net.op("Reshape", x, net.integers(0, net.width[x], -1)), perm=[0, 2, 1])
    stream = net.op("MatMul", flat, turned(net, f"{name}.embed.weight", 6, net.width[x]), width=6)
    token = net.op("Expand", net.normal(f"{name}.token", 1, 1, 6), net.integers(1, 1, 6), width=6)
    shape = net.op("ReduceMean", stream, axes=[1, 2], keepdims=1)
    token = net.op("Add", token, net.op("Mul", shape, net.weight(f"{name}.zero", np.zeros(1, np.float32))), width=6)
    stream = net.op("Concat", token, stream, axis=1, width=6)
    stream = net.op("Add", stream, net.normal(f"{name}.positions", 1, tokens, 6))
    qkv = net.op("MatMul", stream, turned(net, f"{name}.qkv.weight", 3 * inner, 6), width=3 * inner)
    qkv = net.op("Reshape", qkv, net.integers(0, tokens, 3, heads, width))
    qkv = net.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Gather", qkv, net.weight(f"{name}.{i}", np.asarray(i, np.int64)), axis=0) for i in range(3))
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    mixed = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), net.integers(0, tokens, inner))
    out = net.op("MatMul", mixed, turned(net, f"{name}.proj.weight", 6, inner), width=6)
    stream = net.op("Add", stream, out)
    images = net.op("Slice", stream, net.integers(1), net.integers(2**31), net.integers(1), width=6)
    images = net.op("Transpose", images, perm=[0, 2, 1])
    return net.op("Reshape", images, net.integers(0, 6, size, size), width=6)


def space_and_back(net: NetBuilder, x: str, n: int) -> str:
    """Move space into channels and, after a convolution, back, in either order of blocks."""
    deep = net.op("SpaceToDepth", x, blocksize=2, width=4 * net.width[x])
    deep = net.conv(deep, 4 * n)
    return net.op("DepthToSpace", deep, blocksize=2, mode=("DCR", "CRD")[n % 2], width=n)


def resize(net: NetBuilder, x: str, _: int) -> str:
    """Shrink by pooling, enlarge by scales."""
    small = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    scales = net.weight(f"scales{len(net.nodes)}", np.asarray([1, 1, 2, 2], np.float32))
    return net.op("Resize", small, "", scales, mode="nearest", width=net.width[x])


def where(net: NetBuilder, x: str, _: int) -> str:
    """Choose position by position between two convolutions, and a threshold for each channel."""
    width = net.width[x]
    other = net.conv(x, width, kernel=1)
    is_larger = net.op("Greater", x, net.normal(f"threshold{len(net.nodes)}", width, 1, 1))
    return net.op("Where", is_larger, other, x, width=width)


def repeat(net: NetBuilder, x: str, n: int) -> str:
    """Have every channel twice, and mix."""
    doubled = net.op("Tile", x, net.integers(1, 2, 1, 1), width=2 * net.width[x])
    return net.conv(doubled, n, kernel=1)


def einsum(net: NetBuilder, x: str, n: int) -> str:
    """Apply a linear layer written as an einsum."""
    weight = net.normal(f"einsum{len(net.nodes)}.weight", net.width[x], n + 1)
    return net.op("Einsum", x, weight, equation="nchw,cd->ndhw", width=n + 1)


def unknown(net: NetBuilder, x: str, _: int) -> str:
    """Use an operator that mixes neighbouring channels and has no rule."""
    return net.op("LRN", x, size=3)


def axis_juggling(net: NetBuilder, x: str, _: int) -> str:
    """Insert and drop axes around a norm, in an order of its own."""
    wide = net.op("Unsqueeze", x, net.integers(1, -1))
    turned_ = net.op("Transpose", wide, perm=[0, 5, 2, 1, 3, 4])
    return net.norm(net.op("Squeeze", turned_, net.integers(1, 3)))


def pool_channels(net: NetBuilder, x: str, _: int) -> str:
    """Gate by the mean and the largest of all channels at each position."""
    mean = net.op("ReduceMean", x, axes=[1], keepdims=1, width=1)
    gate = net.op("Sigmoid", net.conv(mean, 1))
    return net.op("Mul", x, gate)


LAYERS: dict[str, Layer] = {
    "attention": attention,
    "axis_juggling": axis_juggling,
    "concat": lambda net, x, n: net.op(
        "Concat", net.conv(x, n), x, net.conv(x, 2, kernel=1), axis=1, width=n + 2 + net.width[x]
    ),
    "conv": lambda net, x, n: net.op("Relu", net.conv(x, n)),
    "conv_norm": lambda net, x, n: net.op("HardSwish", net.norm(net.conv(x, n, kernel=1, bias=False))),
    "conv_wide": lambda net, x, n: net.conv(x, n, kernel=5 + 2 * (n % 2)),
    "depthwise": lambda net, x, n: net.norm(net.depthwise(x, 1 + n % 2)),
    "einsum": einsum,
    "gate_by_mean": lambda net, x, _: net.op("Mul", x, net.op("Sigmoid", net.op("ReduceMean", x, axes=[2, 3]))),
    "group_norm": group_norm,
    "grouped": grouped,
    "grouped_transposed": grouped_transposed,
    "instance_norm": lambda net, x, _: net.instance_norm(x),
    "layer_norm": layer_norm,
    "middle_channels": lambda net, x, n: net.op(
        "Slice", net.conv(x, n + 4), net.integers(1), net.integers(-2), net.integers(1), width=n + 1
    ),
    "pad_channels": lambda net, x, n: net.op(
        "Add", net.conv(x, net.width[x] + n + 1, stride=2), net.widen_with_zeros(x, n, 1)
    ),
    "permute": permute,
    "pool": lambda net, x, _: net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "pool_channels": pool_channels,
    "prelu": lambda net, x, _: net.op("PRelu", x, net.normal(f"slope{len(net.nodes)}", net.width[x], 1, 1)),
    "repeat": repeat,
    "residual": lambda net, x, n: net.op("Add", x, net.conv(net.op("Relu", net.conv(x, n)), net.width[x])),
    "resize": resize,
    "rms_norm": rms_norm,
    "same_conv": lambda net, x, _: net.op("Relu", net.norm(net.conv(x, net.width[x], bias=False))),
    "scale": lambda net, x, _: net.op(
        "Mul", net.normal(f"scale{len(net.nodes)}", 1, net.width[x], 1, 1), x, width=net.width[x]
    ),
    "shuffle": shuffle,
    "space_and_back": space_and_back,
    "split": split_and_swap,
    "squeeze_excite": lambda net, x, n: net.squeeze_excite(x, n),
    "stack_rows": lambda net, x, _: net.op(
        "MaxPool", net.op("Concat", x, net.norm(x), axis=2), kernel_shape=[2, 1], strides=[2, 1]
    ),
    "transposed": lambda net, x, n: net.transposed(x, n),
    "unit_length": unit_length,
    "unknown": unknown,
    "where": where,
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Generate a network of up to six layers with a convolutional or a linear head."""
    net = start(draw(st.integers(0, 2**16)), channels=draw(st.integers(1, 3)))
    x = net.conv("x", draw(st.integers(2, 8)))
    for kind in draw(st.lists(st.sampled_from(sorted(LAYERS)), max_size=6)):
        if net.size(x) > 2:  # some layers halve it
            x = LAYERS[kind](net, x, draw(st.integers(2, 6)))
    head = draw(st.sampled_from(["pooled", "flattened", "reshaped"]))
    if head == "pooled":
        x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    elif head == "flattened":
        x = net.op("Flatten", x, axis=1, width=net.width[x] * net.size(x) ** 2)
    else:
        x = net.op("AveragePool", net.conv(x, 4, stride=2), kernel_shape=[1, 1])
        x = net.op("GlobalMaxPool", x)
        x = net.op("Reshape", x, net.integers(0, 4))
    return net.finish(net.linear(net.op("Relu", net.linear(x, 6)), 3), input_shape=(net.width["x"], 16, 16))
