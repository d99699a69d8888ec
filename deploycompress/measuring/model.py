"""What the meter needs to know of a model before it is sent: bytes, digest, batch axes, size of its constants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import TensorProto, helper

from deploycompress.errors import ModelError
from deploycompress.graph import DEFAULT_DOMAINS, Graph, graph_from_onnx
from deploycompress.measuring import static
from deploycompress.measuring.axes import batch_axes, with_fixed_axes
from deploycompress.measuring.model_file import read_model_file, require_self_contained
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


def read_model(source: Source, runtime: Runtime, *, input_shape: tuple[int, ...] | None = None) -> MeasurableModel:
    """Serialise a model and check that the profile's runtime can load it.

    Args:
        source: graph, serialised model, or path of one; only a path may keep weights in other files, beside it.
        runtime: the profile's.
        input_shape: sizes of the first input's axes, the batch first, for a model that leaves some of them open.

    Raises:
        MissingShapeError: an axis other than the batch has no fixed size, and no shape was given.
        ModelError: the file cannot be read or is no ONNX model, keeps weights where they are not allowed, or is too new
            for the profile.
        UsageError: the shape does not fit the model.
    """
    data = _data_of(source)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(f"Not an ONNX model ({len(data)} bytes); export the network to ONNX first.") from error
    require_self_contained(model)
    _require_loadable(model, runtime)
    if input_shape is not None and with_fixed_axes(model, input_shape):
        data = bytes(model.SerializeToString())
    return MeasurableModel(
        data=data,
        digest=hashlib.sha256(data).hexdigest(),
        batch_axes=batch_axes(model),
        weights_bytes=_weights_bytes(source, model),
    )


def empty_model(runtime: Runtime) -> bytes:
    """Make the smallest model there is, to tell what a session costs without one."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "empty", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", min(runtime.max_opset, 17))])
    model.ir_version = min(runtime.max_ir, 8)
    return bytes(model.SerializeToString())


def _data_of(source: Source) -> bytes:
    if isinstance(source, Graph):
        return source.to_bytes()
    return source if isinstance(source, bytes) else read_model_file(source)


def _require_loadable(model: onnx.ModelProto, runtime: Runtime) -> None:
    opset = max((entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), default=0)
    for what, value, limit in (("opset", opset, runtime.max_opset), ("IR version", model.ir_version, runtime.max_ir)):
        if value > limit:
            raise ModelError(
                f"The model has {what} {value}, the profile's runtime loads up to {limit}; export it again with "
                f"{what} {limit}."
            )


def _weights_bytes(source: Source, model: onnx.ModelProto) -> int:
    if isinstance(source, Graph):
        return static.weights_bytes(source)
    return sum(int(onnx.numpy_helper.to_array(tensor).nbytes) for tensor in model.graph.initializer)
