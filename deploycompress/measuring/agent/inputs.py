"""Inputs to run a model with: random numbers of the shapes and types it asks for."""

from __future__ import annotations

from typing import Any

from .refusal import RefusedError

ELEMENT_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in ("float16", "uint8", "int8", "int32", "int64", "bool")},
}


def random_inputs(ports: Any, seed: int) -> list[tuple[str, Any]]:  # Any: onnxruntime is untyped
    """Make an array for each input: normally distributed, or zeros where it takes whole numbers.

    Args:
        ports: what the session says of its inputs; axes without a size are taken as one.
        seed: of the random numbers.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    inputs = []
    for port in ports:
        if port.type not in ELEMENT_TYPES:
            raise RefusedError(
                "rejected", f"Input {port.name!r} is a {port.type}; known are {', '.join(ELEMENT_TYPES)}."
            )
        shape = [axis if isinstance(axis, int) else 1 for axis in port.shape]
        dtype = np.dtype(ELEMENT_TYPES[port.type])
        values = generator.standard_normal(shape) if dtype.kind == "f" else np.zeros(shape)
        inputs.append((port.name, np.ascontiguousarray(values, dtype)))
    return inputs
