"""Runs ONNX models of unknown origin in ONNX Runtime, on random input."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from deploycompress.capturing.onnx_file import serialised
from deploycompress.errors import ModelError
from deploycompress.graph import Array, Port

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # counts only before the library starts

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

SAMPLES = 2
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


def _guarded(what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # Any: untyped library
    try:
        return call(*arguments, **options)
    except RUNTIME_ERRORS as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"ONNX Runtime cannot run {what}: {reason}") from error
