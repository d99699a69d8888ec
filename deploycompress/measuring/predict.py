"""Runs a model over many inputs in ONNX Runtime, for its answers and not for its speed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from deploycompress.graph import Array


def predict(model: bytes, batches: Iterable[Array]) -> Iterator[tuple[Array, ...]]:
    """Give the outputs for each batch.

    Args:
        model: serialised ONNX model with one input and a symbolic batch axis.
        batches: inputs, shape [B, ...] each.

    Yields:
        The outputs of the model in order, each of shape [B, ...].
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for batch in batches:
        yield tuple(np.asarray(output) for output in session.run(None, {name: batch}))
