"""Damages ONNX models in the ways files and exporters do, each from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs
from onnx import TensorProto

Generator = np.random.Generator
T = TypeVar("T")


def damaged(model: onnx.ModelProto, seed: int) -> bytes:
    """Serialise a model with one to three damages of one kind."""
    generator = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(int(generator.integers(1, 4))):
        kind(copy, generator)
    content = np.frombuffer(copy.SerializeToString(), np.uint8).copy()
    if kind is flip_nothing:
        places = generator.integers(0, len(content), generator.integers(1, 9))
        content[places] = generator.integers(0, 256, len(places), dtype=np.uint8)
    return content.tobytes()


def flip_nothing(model: onnx.ModelProto, generator: Generator) -> None:
    """Leave the model: its bytes are flipped instead."""


def flip_structure(model: onnx.ModelProto, generator: Generator) -> None:
    """Flip a byte of a node, where nearly all of them mean something."""
    node = _chosen(model.graph.node, generator)
    content = bytearray(node.SerializeToString())
    content[int(generator.integers(len(content)))] = int(generator.integers(256))
    try:
        node.ParseFromString(bytes(content))
    except DecodeError:
        node.Clear()  # what is left when a length lies


def drop_node(model: onnx.ModelProto, generator: Generator) -> None:
    del model.graph.node[int(generator.integers(len(model.graph.node)))]


def swap_inputs(model: onnx.ModelProto, generator: Generator) -> None:
    """Let a node read what another one makes, later nodes included: cycles come of it."""
    node, other = (_chosen(model.graph.node, generator) for _ in range(2))
    if node.input and other.output:
        node.input[int(generator.integers(len(node.input)))] = other.output[0]


def repeat_output(model: onnx.ModelProto, generator: Generator) -> None:
    first, second = (_chosen(model.graph.node, generator) for _ in range(2))
    first.output[0] = second.output[0]


def change_operator(model: onnx.ModelProto, generator: Generator) -> None:
    first, second = (_chosen(model.graph.node, generator) for _ in range(2))
    first.op_type = second.op_type


def lie_about_input(model: onnx.ModelProto, generator: Generator) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    _chosen(dims, generator).dim_value = int(generator.choice([-1, 0, 1, 7, 2**20, 2**40]))


def lie_about_weight(model: onnx.ModelProto, generator: Generator) -> None:
    tensor = _chosen([t for t in model.graph.initializer if t.dims], generator)
    tensor.dims[int(generator.integers(len(tensor.dims)))] = int(generator.choice([-1, 0, 1, 5, 2**33]))


def reshape_weight(model: onnx.ModelProto, generator: Generator) -> None:
    """Keep the number of elements, so that only the node that reads it can notice."""
    tensor = _chosen([t for t in model.graph.initializer if len(t.dims) > 1], generator)
    tensor.dims[:] = list(tensor.dims)[::-1]


def truncate_weight(model: onnx.ModelProto, generator: Generator) -> None:
    tensor = _chosen([t for t in model.graph.initializer if t.raw_data], generator)
    tensor.raw_data = tensor.raw_data[: int(generator.integers(len(tensor.raw_data)))]


def change_type(model: onnx.ModelProto, generator: Generator) -> None:
    tensor = _chosen(model.graph.initializer, generator)
    tensor.data_type = int(generator.choice([0, TensorProto.INT32, TensorProto.STRING, TensorProto.DOUBLE, 99]))


def change_integers(model: onnx.ModelProto, generator: Generator) -> None:
    """Put absurd numbers into attributes and size constants."""
    attributes = [a for node in model.graph.node for a in node.attribute if a.ints]
    constants = [t for t in model.graph.initializer if t.data_type == TensorProto.INT64 and t.raw_data]
    absurd = int(generator.choice([-(2**62), -7, -1, 0, 1, 3, 1000, 2**31, 2**62]))
    if constants and generator.random() < 0.5:
        tensor = _chosen(constants, generator)
        values = np.frombuffer(tensor.raw_data, np.int64).copy()
        values[int(generator.integers(len(values)))] = absurd
        tensor.raw_data = values.tobytes()
    elif attributes:
        attribute = _chosen(attributes, generator)
        attribute.ints[int(generator.integers(len(attribute.ints)))] = absurd


def change_opset(model: onnx.ModelProto, generator: Generator) -> None:
    model.opset_import[0].version = int(generator.choice([-1, 0, 1, 6, 9, 12, 25, 1000, 2**40]))


KINDS: tuple[Callable[[onnx.ModelProto, Generator], None], ...] = (
    flip_nothing,
    flip_structure,
    drop_node,
    swap_inputs,
    repeat_output,
    change_operator,
    lie_about_input,
    lie_about_weight,
    reshape_weight,
    truncate_weight,
    change_type,
    change_integers,
    change_opset,
)


def _chosen(items: Iterable[T], generator: Generator) -> T:
    listed = list(items)
    return listed[int(generator.integers(len(listed)))]
