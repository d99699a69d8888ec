"""Runs a graph in ONNX Runtime on this machine, for what quantisation wants to know of its values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from deploycompress.errors import DataError
from deploycompress.graph import Array, Graph, Port

MOST_BYTES_AT_ONCE = 2**27
"""Activations held at a time; batches are split for it."""

Run = Callable[[Array], list[Array]]
"""A batch in, the outputs out."""


def runner(graph: Graph) -> Run:
    """Load a graph with a single input; what is returned runs it on one batch, float32 of shape [B, ...]."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])
    name = only_input(graph).name

    def run(batch: Array) -> list[Array]:
        return [np.asarray(output) for output in session.run(None, {name: batch})]

    return run


def only_input(graph: Graph) -> Port:
    """Give the input of a graph that has one.

    Raises:
        DataError: it has several.
    """
    if len(graph.inputs) != 1:
        raise DataError(
            f"The network has {len(graph.inputs)} inputs ({', '.join(port.name for port in graph.inputs)}), expected "
            "one: calibration feeds one batch of images at a time."
        )
    return graph.inputs[0]


def check_batch(batch: Array, graph: Graph) -> Array:
    """Give a batch as float32 once it fits the network's input.

    Raises:
        DataError: shape or element type do not fit, or values are infinite or NaN.
    """
    port = only_input(graph)
    shape = np.shape(batch)
    sizes = [axis for axis in port.shape[1:] if isinstance(axis, int)]
    if list(shape[1:]) != sizes or not shape or shape[0] < 1:
        raise DataError(
            f"A calibration batch has shape {list(shape)}, expected {['B', *sizes]} as {port.name!r} takes."
        )
    if not np.issubdtype(batch.dtype, np.floating):
        raise DataError(f"A calibration batch is {batch.dtype}, expected float32, normalised as in training.")
    if not np.isfinite(batch).all():
        raise DataError("A calibration batch holds infinite values or NaN; check the data and their normalisation.")
    return np.ascontiguousarray(batch, np.float32)


def values_seen(graph: Graph, tensors: Sequence[str], batches: Iterable[Array]) -> Iterator[tuple[str, Array]]:
    """Give what a network's input and some of its float tensors hold, batch after batch, by name.

    Raises:
        DataError: there are no batches, or they do not fit.
    """
    source, is_empty = only_input(graph).name, True
    run = runner(with_outputs(graph, tensors)) if tensors else lambda _: []
    for batch in _pieces(batches, graph, tensors):
        is_empty = False
        yield from zip([source, *tensors], [batch, *run(batch)], strict=True)
    if is_empty:
        raise DataError("There are no calibration images; give --data, some hundred training images are enough.")


def _pieces(batches: Iterable[Array], graph: Graph, tensors: Sequence[str]) -> Iterator[Array]:
    """Split batches, checked, so that some float tensors of the graph stay within what may be held at a time."""
    bytes_per_image = 4 * sum(int(np.prod(np.abs(graph.shapes.get(name, ())))) for name in tensors)
    largest = max(1, MOST_BYTES_AT_ONCE // max(bytes_per_image, 1))
    for batch in batches:
        checked = check_batch(np.asarray(batch), graph)
        for start in range(0, len(checked), largest):
            yield checked[start : start + largest]


def with_outputs(graph: Graph, tensors: Sequence[str]) -> Graph:
    """Make the graph give some of its float tensors, in this order, and nothing else."""
    return replace(graph, outputs=tuple(open_port(name, len(graph.shape_of(name))) for name in tensors))


def open_port(tensor: str, rank: int) -> Port:
    """Describe a float output without saying how large it is: the batch need not be its first axis."""
    axes = tuple(f"{tensor} axis {axis}" for axis in range(rank))
    return Port(name=tensor, dtype=int(TensorProto.FLOAT), shape=axes)
