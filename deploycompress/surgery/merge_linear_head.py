"""The end of a classifier: a convolution, the mean over the image, the flattening, and a matrix product.

A convolution of single positions commutes with means over them, and one that leaves a single position is a matrix
product, into which the next one merges.
"""

from __future__ import annotations

import math
from dataclasses import replace

from deploycompress.graph import Node
from deploycompress.surgery.merge_linear_convolutions import (
    SINGLE,
    Convolution,
    compose,
    has_implied_padding,
    merged_weights,
    pays,
    read_convolution,
    with_convolution,
)
from deploycompress.surgery.merge_linear_pair import Merge, Neighbours
from deploycompress.surgery.merge_linear_products import read_product


def pool_first(around: Neighbours, pool: Node) -> Merge | None:
    """Take a mean over the image before a 1x1 convolution rather than after it.

    The convolution has fewer positions to compute, and meets what is behind the mean.
    """
    node = around.before(pool)
    found = None if node is None else read_convolution(around, node)
    if node is None or found is None or any(axis != SINGLE for axis in found.axes) or _reaches_beyond(pool):
        return None
    entry, output = around.graph.known_shape_of(node.input(0)), around.graph.known_shape_of(pool.outputs[0])
    if entry is None or output is None or math.prod(output[2:]) >= math.prod(entry[2:]):
        return None
    mean = replace(pool, inputs=(node.input(0),), outputs=node.outputs)
    moved = replace(node, inputs=(*node.outputs, *node.inputs[1:]), outputs=pool.outputs)
    return Merge(nodes={node.name: (), pool.name: (mean, moved)}, shapes={node.outputs[0]: (*entry[:2], *output[2:])})


def _reaches_beyond(pool: Node) -> bool:
    """Whether windows may reach beyond the image, where a bias would count otherwise than zeros."""
    found = pool.attributes
    return bool(any(found.get("pads", ())) or found.get("ceil_mode", 0) or has_implied_padding(pool))


def merge_head(around: Neighbours, gemm: Node) -> Merge | None:
    """Merge a matrix product into the convolution before it, which leaves a single position of the image."""
    flatten = around.before(gemm)
    node = None if flatten is None else around.before(flatten)
    if flatten is None or node is None or not _only_flattens(around, flatten):
        return None
    inner, product = read_convolution(around, node), read_product(around, gemm)
    if inner is None or product is None:
        return None
    outer = Convolution(
        weight=product.exact.T.reshape(*product.matrix.T.shape, *[1] * len(inner.axes)),
        bias=product.bias,
        groups=1,
        axes=(SINGLE,) * len(inner.axes),
    )
    merged = compose(inner, outer, inner.weight.dtype) if pays(around, (node, inner), (gemm, outer)) else None
    if merged is None:
        return None
    convolution = with_convolution(node, node.input(0), merged)
    flat = Node(name=flatten.name, op="Flatten", inputs=node.outputs, outputs=gemm.outputs, attributes={"axis": 1})
    return Merge(
        nodes={node.name: (convolution,), flatten.name: (flat,), gemm.name: ()},
        weights=merged_weights(convolution, merged),
        shapes={node.outputs[0]: (1, len(merged.weight), *[1] * len(inner.axes))},
    )


def _only_flattens(around: Neighbours, node: Node) -> bool:
    """Whether a node writes the single position of an image as a row of its channels."""
    image, row = around.graph.known_shape_of(node.input(0)), around.graph.known_shape_of(node.outputs[0])
    return image is not None and len(image) > 2 and math.prod(image[2:]) == 1 and row == image[:2]
