"""Two matrix products in a row as one: Gemm, or MatMul with the addition of its bias."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deploycompress.graph import Array, Node
from deploycompress.surgery.merge_linear_pair import Exact, Merge, Neighbours, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A layer scale x A + b.

    Attributes:
        node: `Gemm` or `MatMul`.
        matrix: A, shape [inputs, outputs].
        scale: a factor.
        bias: b, shape [outputs], or nothing.
        add: the addition that a `MatMul` has its bias from.
    """

    node: Node
    matrix: Array
    scale: float = 1.0
    bias: Exact | None = None
    add: Node | None = None

    @property
    def exact(self) -> Exact:
        """The matrix with its factor."""
        return self.matrix.astype(np.float64) * self.scale


def merge_products(around: Neighbours, node: Node) -> Merge | None:
    """Merge a matrix product with the one before it."""
    first, second = _read_before(around, node), read_product(around, node)
    if first is None or second is None:
        return None
    if not _pays(first, second):
        return None
    outer = second.exact
    biases = [] if first.bias is None else [first.bias @ outer]
    biases += [] if second.bias is None else [second.bias]
    matrix = stored(first.exact @ outer, second.matrix.dtype)
    bias = stored(np.sum(biases, axis=0), second.matrix.dtype) if biases else None
    if matrix is None or (biases and bias is None):
        return None
    return _merge(around, first, second, matrix, bias)


def _pays(first: Product, second: Product) -> bool:
    """Whether the one product has no more multiply-accumulates and no more parameters than the two."""
    outputs = second.matrix.shape[1]
    weights = len(first.matrix) * outputs
    biases = [product.bias.size for product in (first, second) if product.bias is not None]
    apart = first.matrix.size + second.matrix.size
    return bool(weights <= apart and weights + (outputs if biases else 0) <= apart + sum(biases))


def read_product(around: Neighbours, node: Node) -> Product | None:
    """Read a node as a product of data with a constant matrix; a `MatMul` with the addition after it, if any."""
    matrix = around.constant(node.input(1))
    if matrix is None or matrix.ndim != 2:
        return None
    if node.op == "Gemm":
        return _read_gemm(around, node, matrix)
    if node.op != "MatMul":
        return None
    add = around.after(node, "Add")
    bias = None if add is None else _added(around, add, node, matrix.shape[1])
    return Product(node=node, matrix=matrix, bias=bias, add=None if bias is None else add)


def _read_before(around: Neighbours, node: Node) -> Product | None:
    """Read the product before a node; where an addition is before it, the product that it belongs to."""
    before = around.before(node)
    if before is None or before.op != "Add":
        return None if before is None else read_product(around, before)
    makers = [maker for position in (0, 1) if (maker := around.before(before, position)) is not None]
    found = next((read_product(around, maker) for maker in makers if maker.op == "MatMul"), None)
    return found if found is not None and found.add is not None else None


def _read_gemm(around: Neighbours, node: Node, matrix: Array) -> Product | None:
    found = node.attributes
    matrix = matrix.T if found.get("transB", 0) else matrix
    constant = around.constant(node.input(2)) if node.input(2) else None
    bias = None if constant is None else _row(constant, matrix.shape[1])
    if found.get("transA", 0) or (node.input(2) and bias is None):
        return None
    return Product(
        node=node,
        matrix=matrix,
        scale=float(found.get("alpha", 1.0)),
        bias=None if bias is None else bias * float(found.get("beta", 1.0)),
    )


def _added(around: Neighbours, add: Node, product: Node, outputs: int) -> Exact | None:
    """Give the constant row that an addition adds to a product, if that is what it does."""
    constant = around.constant(add.input(1 if add.input(0) == product.outputs[0] else 0))
    shape = around.graph.known_shape_of(add.outputs[0])
    if (
        constant is None
        or shape is None
        or shape != around.graph.known_shape_of(product.outputs[0])
        or constant.ndim > len(shape)
    ):
        return None
    return _row(constant, outputs)


def _row(constant: Array, outputs: int) -> Exact | None:
    """Write a constant that is added to every row alike as one row."""
    if constant.size not in (1, outputs) or constant.size != (constant.shape[-1] if constant.ndim else 1):
        return None
    return np.broadcast_to(constant.reshape(-1).astype(np.float64), (outputs,))


def _merge(around: Neighbours, first: Product, second: Product, matrix: Array, bias: Array | None) -> Merge:
    """Put one product at the place of the second: a `Gemm` where either was one, for then the data are matrices."""
    node, entry, last = second.node, first.node.input(0), second.add or second.node
    adds = [add for add in (second.add, first.add) if add is not None]
    weight, bias_name = f"{node.name}.merged_weight", f"{node.name}.merged_bias"
    if "Gemm" in (first.node.op, node.op):
        reads = (entry, weight) if bias is None else (entry, weight, bias_name)
        nodes: tuple[Node, ...] = (replace(node, op="Gemm", inputs=reads, outputs=last.outputs, attributes={}),)
    elif bias is None:
        nodes = (replace(node, inputs=(entry, weight)),)
    else:
        between = (node if second.add else first.node).outputs
        product = replace(node, inputs=(entry, weight), outputs=between)
        nodes = (product, replace(adds[0], inputs=(*between, bias_name), outputs=last.outputs))
    gone: dict[str, tuple[Node, ...]] = {one.name: () for one in (first.node, *adds)}
    weights = {weight: matrix} | ({} if bias is None else {bias_name: bias})
    shapes = {
        name: shape for one in nodes for name in one.outputs if (shape := around.graph.known_shape_of(last.outputs[0]))
    }
    return Merge(nodes={**gone, node.name: nodes}, weights=weights, shapes=shapes)
