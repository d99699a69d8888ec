"""The one graph: an immutable ONNX network that is traced, cut, trained, measured and shipped.

It knows ONNX's data model and nothing of channels, clocks or torch. Edits make new graphs that share
unchanged arrays with the old one, so copying costs nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deploycompress.errors import ModelError

Array = NDArray[Any]  # any element type: weights, indices and shape constants live side by side
Shape = tuple[int, ...]

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
UNKNOWN_SIZE = -1
"""In a shape: the size of this axis depends on the data, such as the number of boxes found."""
LARGEST_SHAPE_CONSTANT = 1024
"""Elements of a constant that may still say something about shapes, such as a reshape target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator call.

    Attributes:
        name: unique in its graph.
        op: ONNX operator type, such as `Conv`.
        inputs: tensor names in operator order; the empty string is an omitted optional input.
        outputs: tensor names in operator order.
        attributes: decoded ONNX attributes (int, float, str, bytes, lists of them, arrays, protos).
        domain: operator set, empty for ONNX's own.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)  # Any: an ONNX attribute is one of twelve types
    domain: str = ""

    @property
    def is_standard(self) -> bool:
        """Whether the operator belongs to ONNX's own operator set."""
        return self.domain in DEFAULT_DOMAINS

    @property
    def captured(self) -> tuple[str, ...]:
        """Tensors that the node's subgraphs (control flow) read from the graph around it."""
        found: dict[str, None] = {}
        for value in self.attributes.values():
            for subgraph in _subgraphs(value):
                found.update(dict.fromkeys(_free_names(subgraph)))
        return tuple(found)

    @property
    def reads(self) -> tuple[str, ...]:
        """Everything the node needs: its inputs that are there, and what its subgraphs capture."""
        return (*(name for name in self.inputs if name), *self.captured)

    def input(self, index: int) -> str:
        """Name the input at a position, empty when it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the graph; axes of symbolic size are named by a string."""

    name: str
    dtype: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Graph:
    """A network: nodes in execution order, constants by name, and the shape of every tensor.

    Attributes:
        nodes: operators, each after those it reads from.
        weights: every constant tensor, trained or not. Never written to in place.
        inputs: what the caller feeds.
        outputs: what the caller gets.
        shapes: shape of every non-constant tensor at batch size one; sizes that depend on the data are
            `UNKNOWN_SIZE`, and tensors of unknown rank and values that are no tensors are absent.
        opset: version of ONNX's own operator set.
        ir_version: ONNX file format version.
        domains: further operator sets and their versions.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, Array]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    shapes: Mapping[str, Shape]
    opset: int
    ir_version: int
    domains: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes and {len(self.weights)} constants, opset {self.opset}>"

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Shape of each input by name, symbolic axes as strings."""
        return {port.name: port.shape for port in self.inputs}

    def shape_of(self, tensor: str) -> Shape:
        """Give the shape of any tensor at batch size one; `UNKNOWN_SIZE` stands for sizes that depend on the data.

        Raises:
            KeyError: its rank is unknown, or it is no tensor.
        """
        weight = self.weights.get(tensor)
        return tuple(weight.shape) if weight is not None else self.shapes[tensor]

    def known_shape_of(self, tensor: str) -> Shape | None:
        """Give the shape of any tensor at batch size one, or nothing when a size of it or its rank is not known."""
        weight = self.weights.get(tensor)
        shape = tuple(weight.shape) if weight is not None else self.shapes.get(tensor)
        return None if shape is None or UNKNOWN_SIZE in shape else shape

    def static_shape_of(self, tensor: str) -> Shape:
        """Give the shape of a tensor at batch size one, all of it known.

        Raises:
            ModelError: a size depends on the data, or the shape is unknown.
        """
        shape = self.known_shape_of(tensor)
        if shape is None:
            raise ModelError(
                f"The size of tensor {tensor!r} depends on the data ({self.shapes.get(tensor) or 'unknown rank'}), "
                "expected static sizes: costs by arithmetic are not defined for this network."
            )
        return shape

    def producers(self) -> dict[str, Node]:
        """Map each computed tensor to the node that makes it."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    def readers(self) -> dict[str, list[tuple[Node, int]]]:
        """Map each tensor to the nodes that read it, with the input position; `Node.captured` is not among them."""
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for position, name in enumerate(node.inputs):
                if name:
                    found.setdefault(name, []).append((node, position))
        return found

    def uses(self) -> dict[str, int]:
        """Count the uses of each tensor: reads by nodes and by their subgraphs, and being an output."""
        found: dict[str, int] = {}
        for name in (*(name for node in self.nodes for name in node.reads), *(port.name for port in self.outputs)):
            found[name] = found.get(name, 0) + 1
        return found

    def with_weights(self, weights: Mapping[str, Array]) -> Graph:
        """Make the same graph with some constants replaced."""
        return replace(self, weights={**self.weights, **weights})

    def to_onnx(self) -> onnx.ModelProto:
        """Write the graph as an ONNX model with a symbolic batch axis."""
        graph = helper.make_graph(
            [_node_to_onnx(node) for node in self.nodes],
            "deploycompress",
            [_port_to_onnx(port) for port in self.inputs],
            [_port_to_onnx(port) for port in self.outputs],
            [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="deploycompress")
        model.ir_version = self.ir_version
        return model

    def to_bytes(self) -> bytes:
        """Serialise the ONNX model; equal graphs give equal bytes."""
        return bytes(self.to_onnx().SerializeToString(deterministic=True))

    def digest(self) -> str:
        """Name the graph by the SHA-256 of its serialised model."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ONNX file through a temporary neighbour, so that no half file is ever seen."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(target)


def graph_from_onnx(model: onnx.ModelProto) -> Graph:
    """Read an ONNX model whose inputs have static shapes apart from the batch axis.

    Args:
        model: self-contained model (no external data), nodes in topological order. Capture prepares such
            models; files that already went through capture satisfy it by construction.

    Raises:
        ModelError: an input's shape is not static, or the graph has no inputs or outputs.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = tuple(port_from_onnx(value) for value in model.graph.input if value.name not in weights)
    if not inputs or not model.graph.output:
        raise ModelError("The model has no inputs or no outputs; export it again with both.")
    for port in inputs:
        if any(isinstance(axis, str) for axis in port.shape[1:]):
            raise ModelError(
                f"Input {port.name!r} has shape {port.shape}, of which only the first axis may be open: "
                "give --input-shape, or export it again with fixed sizes."
            )
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    standard = [version for domain, version in opsets.items() if domain in DEFAULT_DOMAINS]
    if not standard:
        raise ModelError("The model imports no ONNX operator set; export it again with a current exporter.")
    return Graph(
        nodes=tuple(nodes_from_onnx(model.graph.node)),
        weights=weights,
        inputs=inputs,
        outputs=tuple(port_from_onnx(value) for value in model.graph.output),
        shapes=_static_shapes(model, inputs),
        opset=max(standard),
        ir_version=model.ir_version,
        domains={domain: version for domain, version in opsets.items() if domain not in DEFAULT_DOMAINS},
    )


def nodes_from_onnx(protos: Iterable[onnx.NodeProto]) -> Iterator[Node]:
    """Read nodes in their order; those without a name of their own get one."""
    taken: set[str] = set()
    for index, proto in enumerate(protos):
        name = proto.name or f"{proto.op_type}_{index}"
        while name in taken:
            name = f"{name}_{index}"
        taken.add(name)
        yield Node(
            name=name,
            op=proto.op_type,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes={a.name: helper.get_attribute_value(a) for a in proto.attribute},
            domain="" if proto.domain in DEFAULT_DOMAINS else proto.domain,
        )


def port_from_onnx(value: onnx.ValueInfoProto) -> Port:
    """Read an input or output; axes without size or name are named by their position.

    Raises:
        ModelError: it is no tensor.
    """
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"{value.name!r} is a {value.type.WhichOneof('value')}, expected a tensor; export it without.")
    tensor = value.type.tensor_type
    shape = tuple(
        axis.dim_value if axis.HasField("dim_value") else (axis.dim_param or f"axis{position}")
        for position, axis in enumerate(tensor.shape.dim)
    )
    return Port(name=value.name, dtype=tensor.elem_type, shape=shape)


def prune_unused(graph: Graph) -> Graph:
    """Drop nodes and constants that no output depends on."""
    needed = {port.name for port in graph.outputs}
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.reads)
    return replace(
        graph,
        nodes=tuple(reversed(kept)),
        weights={name: array for name, array in graph.weights.items() if name in needed},
    )


def _static_shapes(model: onnx.ModelProto, inputs: tuple[Port, ...]) -> dict[str, Shape]:
    shapes = {port.name: tuple(1 if isinstance(axis, str) else axis for axis in port.shape) for port in inputs}
    inferred = onnx.shape_inference.infer_shapes(_bare_at_batch_one(model, inputs, shapes), data_prop=True)
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = tuple(axis.dim_value if axis.HasField("dim_value") else UNKNOWN_SIZE for axis in dims)
    return shapes


def _bare_at_batch_one(
    model: onnx.ModelProto, inputs: tuple[Port, ...], shapes: Mapping[str, Shape]
) -> onnx.ModelProto:
    """Copy a model for shape inference: at batch one, and of large constants (inference copies them) the shape only."""
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > LARGEST_SHAPE_CONSTANT]
    graph = helper.make_graph(
        list(model.graph.node),
        "shapes",
        [helper.make_tensor_value_info(port.name, port.dtype, shapes[port.name]) for port in inputs]
        + [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in large],
        [helper.make_tensor_value_info(v.name, v.type.tensor_type.elem_type, None) for v in model.graph.output],
        [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) <= LARGEST_SHAPE_CONSTANT],
    )
    bare = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
    bare.ir_version = model.ir_version
    return bare


def attribute_to_onnx(key: str, value: Any) -> onnx.AttributeProto:  # Any: an attribute is one of twelve types
    """Write an attribute; an empty list does not show its type, and where ONNX has lists they are mostly integers."""
    is_empty = isinstance(value, list | tuple) and not value
    return helper.make_attribute(key, value, attr_type=onnx.AttributeProto.INTS if is_empty else None)


def _subgraphs(value: Any) -> tuple[onnx.GraphProto, ...]:  # Any: an attribute is one of twelve types
    if isinstance(value, onnx.GraphProto):
        return (value,)
    return tuple(value) if isinstance(value, list | tuple) and value and isinstance(value[0], onnx.GraphProto) else ()


def _free_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Name what a subgraph, or one inside it, reads and does not define."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        inner = [helper.get_attribute_value(a) for a in node.attribute if a.type in (a.GRAPH, a.GRAPHS)]
        deeper = (name for value in inner for subgraph in _subgraphs(value) for name in _free_names(subgraph))
        yield from (name for name in (*node.input, *deeper) if name and name not in own)
    yield from (value.name for value in graph.output if value.name not in own)


def _node_to_onnx(node: Node) -> onnx.NodeProto:
    proto = helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain)
    for key in sorted(node.attributes):
        proto.attribute.append(attribute_to_onnx(key, node.attributes[key]))
    return proto


def _port_to_onnx(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, port.dtype, port.shape)
