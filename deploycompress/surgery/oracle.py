"""The proof on every run: two graphs give the same outputs in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import helper

from deploycompress.channels.records import Channels
from deploycompress.graph import Array, Graph
from deploycompress.plan import Plan
from deploycompress.surgery.masked import masked
from deploycompress.surgery.slim import slim


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two graphs are apart on the same inputs.

    Attributes:
        max_abs: largest absolute difference over all outputs.
        relative: the largest over the outputs of difference over largest absolute value of the reference's.
    """

    max_abs: float
    relative: float


def check_plan(graph: Graph, plan: Plan, *, channels: Channels | None = None, seed: int = 0) -> Difference:
    """Compare the slim graph with the masked one on random inputs (design invariant 1)."""
    return compare_graphs(
        slim(graph, plan, channels=channels), masked(graph, plan, channels=channels), random_inputs(graph, seed=seed)
    )


def compare_graphs(graph: Graph, reference: Graph, inputs: Mapping[str, Array]) -> Difference:
    """Run both graphs on the same inputs and give their largest difference; NaN on either side is infinite."""
    return compare_outputs(run_graph(graph, inputs), run_graph(reference, inputs))


def compare_outputs(outputs: list[Array], references: list[Array]) -> Difference:
    """Give the largest difference between two lists of outputs of the same shapes, each relative to its own largest.

    An output that should be all zeros is held against the largest of all. Equal infinities do not differ.
    """
    pairs = list(zip(outputs, references, strict=True))
    if any(output.shape != reference.shape for output, reference in pairs):
        return Difference(max_abs=float("inf"), relative=float("inf"))
    scales = [_largest(reference) for reference in references]
    apart = [_apart(output, reference) for output, reference in pairs]
    overall = max([*scales, 1e-12])
    return Difference(
        max_abs=max(apart, default=0.0),
        relative=max((gap / (scale or overall) for gap, scale in zip(apart, scales, strict=True)), default=0.0),
    )


def _largest(array: Array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _apart(output: Array, reference: Array) -> float:
    finite = np.isfinite(output) & np.isfinite(reference)
    if not np.array_equal(output[~finite], reference[~finite]):  # a NaN equals nothing
        return float("inf")
    return float(np.abs(output[finite].astype(np.float64) - reference[finite]).max(initial=0.0))


def run_graph(graph: Graph, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a graph once on the CPU in ONNX Runtime, in this process."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.to_bytes(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(inputs))]


def random_inputs(graph: Graph, *, seed: int, batch: int = 2) -> dict[str, Array]:
    """Draw standard normal inputs, shape [batch, ...]; symbolic axes get the batch size."""
    generator = np.random.default_rng(seed)
    return {
        port.name: generator.standard_normal([batch if isinstance(axis, str) else axis for axis in port.shape]).astype(
            helper.tensor_dtype_to_np_dtype(port.dtype)
        )
        for port in graph.inputs
    }
