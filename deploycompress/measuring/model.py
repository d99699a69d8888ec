"""What the meter needs to know of a model before it is sent: bytes, digest, batch axes, size of its constants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from deploycompress.errors import ModelError
from deploycompress.graph import DEFAULT_DOMAINS, Graph, graph_from_onnx
from deploycompress.measuring import static
from deploycompress.profile import Runtime

Source = Graph | bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurableModel:
    """A self-contained ONNX model.

    Attributes:
        data: the serialised model, exactly as it is measured.
        digest: SHA-256 of the data.
        batch_axes: names of symbolic batch axes; they are measured at one.
        weights_bytes: sum of all constants.
    """

    data: bytes
    digest: str
    batch_axes: tuple[str, ...]
    weights_bytes: int

    def graph(self) -> Graph:
        """Read the model as a graph.

        Raises:
            ModelError: a tensor's shape cannot be inferred.
        """
        return graph_from_onnx(onnx.load_model_from_string(self.data))


def read_model(source: Source, runtime: Runtime) -> MeasurableModel:
    """Serialise a model and check that the profile's runtime can load it.

    Raises:
        ModelError: the file cannot be read or is no ONNX model, keeps weights in other files, has a symbolic axis other
            than the batch, or is too new for the profile.
    """
    data = _data_of(source)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(f"Not an ONNX model ({len(data)} bytes); export the network to ONNX first.") from error
    _require_loadable(model, runtime)
    names = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in names]
    return MeasurableModel(
        data=data,
        digest=hashlib.sha256(data).hexdigest(),
        batch_axes=tuple(sorted({axis for value in inputs for axis in _symbolic_axes(value)})),
        weights_bytes=_weights_bytes(source, model),
    )


def _data_of(source: Source) -> bytes:
    if isinstance(source, Graph):
        return source.to_bytes()
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise ModelError(f"Model {source} cannot be read: {error.strerror}.") from error


def _require_loadable(model: onnx.ModelProto, runtime: Runtime) -> None:
    opset = max((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), default=0)
    for what, value, limit in (("opset", opset, runtime.max_opset), ("IR version", model.ir_version, runtime.max_ir)):
        if value > limit:
            raise ModelError(
                f"The model has {what} {value}, the profile's runtime loads up to {limit}; export it again with "
                f"{what} {limit}."
            )
    external = [tensor.name for tensor in model.graph.initializer if tensor.external_data]
    if external:
        raise ModelError(
            f"Tensor {external[0]!r} lies in another file than the model; save the model as one self-contained file."
        )


def _symbolic_axes(value: onnx.ValueInfoProto) -> list[str]:
    dims = value.type.tensor_type.shape.dim
    symbolic = [position for position, axis in enumerate(dims) if not axis.HasField("dim_value")]
    if any(symbolic):
        raise ModelError(
            f"Axis {max(symbolic)} of input {value.name!r} has no fixed size; only the batch axis 0 may be symbolic, "
            "export the model with fixed sizes."
        )
    return [dims[0].dim_param] if symbolic and dims[0].dim_param else []


def _weights_bytes(source: Source, model: onnx.ModelProto) -> int:
    if isinstance(source, Graph):
        return static.weights_bytes(source)
    return sum(int(onnx.numpy_helper.to_array(tensor).nbytes) for tensor in model.graph.initializer)
