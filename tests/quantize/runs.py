"""Runs graphs in ONNX Runtime, and shows what it makes of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.ranges import RangeMethod, find_ranges
from deploycompress.quantize.static import quantized

Array = np.ndarray[Any, Any]
FORM = Int8Format()


def images(count: int = 16, *, shape: tuple[int, ...] = (3, 8, 8), seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def session(graph: Graph, **settings: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in settings.items():
        setattr(options, key, value)
    return onnxruntime.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])


def outputs(graph: Graph, batch: Array) -> Array:
    found: Array = session(graph).run(None, {graph.inputs[0].name: batch})[0]
    return found


def computed(graph: Graph, folder: Path) -> Counter[str]:
    """Count the operators of the graph that ONNX Runtime really runs."""
    path = folder / "optimized.onnx"
    session(graph, optimized_model_filepath=str(path))
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def in_int8(graph: Graph, form: Int8Format = FORM, *, batch: Array | None = None, **kwargs: Any) -> Graph:
    """Quantise with ranges of random images."""
    shape = tuple(int(axis) for axis in graph.inputs[0].shape[1:])
    calibration = images(shape=shape) if batch is None else batch
    return quantized(graph, find_ranges(graph, [calibration], method=RangeMethod.MIN_MAX), form, **kwargs)


def with_sized_outputs(graph: Graph) -> onnx.ModelProto:
    """Say how large the outputs are, which the builder leaves open and ONNX's checker takes for scalars."""
    ports = tuple(replace(port, shape=("N", *graph.shapes[port.name][1:])) for port in graph.outputs)
    return replace(graph, outputs=ports).to_onnx()


def check(graph: Graph) -> None:
    onnx.checker.check_model(with_sized_outputs(graph), full_check=True)


def relative_rms(found: Array, wanted: Array) -> float:
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))
