"""Does the captured graph compute what the source computes? Asked of ONNX Runtime, on random input."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.findings import missing_share
from deploycompress.capturing.onnx_file import serialised
from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph, Port

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # counts only before the library starts

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

logger = logging.getLogger(__name__)

SAMPLES = 2
TOLERANCE = 1e-4  # largest absolute difference over largest absolute reference
FINDING_TOLERANCE = 1e-3  # of the largest: a third of a pixel in 320; box sizes are exponentials
MISSING_SHARE = 0.05  # of the things found: ties fall one way or the other
TIED_SHARE = 0.1  # that may be missing beyond what a disturbance explains: exact ties, which nothing disturbs
LARGEST_MISSING_SHARE = 0.5
DISTURBANCE = 1e-3  # of the input: enough to move findings that only rounding tells apart
RUNTIME_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)

Run = Callable[[list[Array]], list[Array]]


def random_inputs(ports: tuple[Port, ...], samples: int) -> list[Array]:
    """Draw standard normal inputs (zeros and ones for integers), one array per port.

    Args:
        ports: what the arrays are for; their only symbolic axis is the batch.
        samples: size of the batch.
    """
    generator = np.random.default_rng(0)
    arrays: list[Array] = []
    for port in ports:
        shape = tuple(samples if isinstance(axis, str) else axis for axis in port.shape)
        dtype = helper.tensor_dtype_to_np_dtype(port.dtype)
        is_float = np.issubdtype(dtype, np.floating)
        drawn = generator.standard_normal(shape) if is_float else generator.integers(0, 2, shape)
        arrays.append(np.asarray(drawn).astype(dtype))
    return arrays


def onnx_runner(model: onnx.ModelProto, what: str) -> Run:
    """Open a model in ONNX Runtime on the CPU.

    Args:
        model: what to run.
        what: how messages call it.

    Raises:
        ModelError: ONNX Runtime cannot open it; the returned function raises it when running fails.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = _guarded(what, ort.InferenceSession, serialised(model), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: list[Array]) -> list[Array]:
        results = _guarded(what, session.run, None, dict(zip(names, inputs, strict=True)))
        return [np.asarray(result) for result in results]

    return run


def in_batches_of(size: int, run: Run) -> Run:
    """Let a source that takes one batch size only answer for any number of samples, padding with zeros."""

    def run_any(inputs: list[Array]) -> list[Array]:
        samples = inputs[0].shape[0]
        parts: list[list[Array]] = []
        for start in range(0, samples, size):
            chunk = [array[start : start + size] for array in inputs]
            missing = size - chunk[0].shape[0]
            parts.append(run([np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) for array in chunk]))
        return [np.concatenate(outputs)[:samples] for outputs in zip(*parts, strict=True)]

    return run_any


def verify(graph: Graph, reference: Run, expected: list[Array]) -> float:
    """Compare a graph with its source at batch `SAMPLES`.

    Args:
        graph: what was captured.
        reference: runs the source.
        expected: what it gave for `random_inputs(graph.inputs, SAMPLES)`.

    Returns:
        The largest relative difference over all outputs of static size.

    Raises:
        ModelError: they differ by more than `TOLERANCE`, or the source gives no finite numbers.
    """
    inputs = random_inputs(graph.inputs, SAMPLES)
    found = onnx_runner(graph.to_onnx(), "the captured graph")(inputs)
    for port, right in zip(graph.outputs, expected, strict=True):
        if not np.all(np.isfinite(right)):
            raise ModelError(f"The model's output {port.name!r} is not finite on random input; check its weights.")
    places = [place for place, port in enumerate(graph.outputs) if _has_findings(port)]
    worst = 0.0
    for place, port in enumerate(graph.outputs):
        if place not in places:
            worst = max(worst, _relative_difference(port.name, expected[place], found[place]))
    if worst > TOLERANCE:
        raise ModelError(
            f"The captured graph differs from the model by {worst:.2e} of its largest output, expected at most "
            f"{TOLERANCE:.0e}: its outputs may depend on the batch, on chance or on Python code that sees values."
        )
    counts = dict.fromkeys(expected[place].shape[0] for place in places)
    for count in counts:  # what belongs together has equally many rows
        together = [place for place in places if expected[place].shape[0] == count]
        _compare_findings(reference, inputs, together, expected, found)
    return worst


def _compare_findings(
    reference: Run, inputs: list[Array], places: list[int], expected: list[Array], found: list[Array]
) -> None:
    """Compare rows that were found; where many differ, ask how many do when the input changes a little.

    A network that was never trained scores everything alike: then its own findings hang on rounding.
    """
    rows, others = [expected[place] for place in places], [found[place] for place in places]
    if not any(array.size for array in (*rows, *others)):
        logger.warning("The model finds nothing in the random input of the check: these outputs were not compared.")
        return
    if any(r.shape[1:] != o.shape[1:] for r, o in zip(rows, others, strict=True)):
        raise ModelError(f"Findings have shapes {[o.shape for o in others]}, expected {[r.shape for r in rows]}.")
    share = missing_share(rows, others, FINDING_TOLERANCE)
    if share <= MISSING_SHARE:
        return
    signs = np.random.default_rng(1).choice([-1.0, 1.0], inputs[0].shape)
    disturbed = [(inputs[0] * (1 + DISTURBANCE * signs)).astype(inputs[0].dtype), *inputs[1:]]
    again = reference(disturbed)
    own = missing_share(rows, [again[place] for place in places], FINDING_TOLERANCE)
    if share > min(1.5 * own + TIED_SHARE, LARGEST_MISSING_SHARE):
        raise ModelError(
            f"{share:.0%} of the model's findings in a random input are missing in the captured graph, expected at "
            f"most {MISSING_SHARE:.0%} (the model itself loses {own:.0%} when the input changes by a thousandth)."
        )
    logger.warning(
        "%.0f %% of the findings differ, and %.0f %% do when the input changes by a thousandth: the check says little; "
        "are these trained weights?",
        100 * share,
        100 * own,
    )


def _has_findings(port: Port) -> bool:
    """Whether an output has one row for each thing found, and not for each sample."""
    return bool(port.shape) and isinstance(port.shape[0], str) and port.shape[0] != BATCH


def _relative_difference(name: str, expected: Array, found: Array) -> float:
    if expected.shape != found.shape:
        raise ModelError(
            f"Output {name!r} has shape {found.shape} in the captured graph but {expected.shape} in the model at batch "
            f"{SAMPLES}; its batch axis cannot be made free: export it with a dynamic batch axis."
        )
    largest = float(np.max(np.abs(expected), initial=0.0))
    difference = float(np.max(np.abs(expected.astype(np.float64) - found.astype(np.float64)), initial=0.0))
    return difference / largest if largest > 0 else difference


def _guarded(what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # Any: untyped library
    try:
        return call(*arguments, **options)
    except RUNTIME_ERRORS as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"ONNX Runtime cannot run {what}: {reason}") from error
