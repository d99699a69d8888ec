"""Reads a model file together with weights it keeps in files beside it, as one self-contained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import external_data_helper

from deploycompress.errors import ModelError

LARGEST_BYTES = 2**31 - 1
"""Protobuf's own limit to one message."""


def read_model_file(path: Path) -> bytes:
    """Give a model file's bytes; weights that lie in other files are put inside.

    Weights of other files are read only from the model's own folder, links followed: a model may come from anybody.

    Raises:
        ModelError: the file cannot be read, is no ONNX model, keeps weights elsewhere, or is too large in one piece.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"Model {path} has {path.stat().st_size} bytes; ONNX allows {LARGEST_BYTES} in one file.")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Model {path} cannot be read: {error.strerror}.") from error
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(f"{path} is no ONNX model ({len(data)} bytes); export the network to ONNX first.") from error
    elsewhere = [tensor for tensor in _tensors(model.graph) if external_data_helper.uses_external_data(tensor)]
    if not elsewhere:
        return data
    folder = path.absolute().parent
    for tensor in elsewhere:
        _require_inside(tensor, folder, path)
    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
        return bytes(model.SerializeToString())
    except (onnx.checker.ValidationError, OSError, ValueError, RuntimeError, EncodeError) as error:
        raise ModelError(
            f"The weights of {path} cannot be put into one model: {str(error).strip()[:200]}; export the network again."
        ) from error


def require_self_contained(model: onnx.ModelProto) -> None:
    """Refuse a model that keeps weights in other files.

    Raises:
        ModelError: it does.
    """
    for tensor in _tensors(model.graph):
        if external_data_helper.uses_external_data(tensor):
            raise ModelError(
                f"Tensor {tensor.name!r} lies in another file than the model; give the model by its path, with that "
                "file beside it, or save it as one self-contained file."
            )


def _require_inside(tensor: onnx.TensorProto, folder: Path, path: Path) -> None:
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    place = (folder / location).resolve()
    if not location or not place.is_relative_to(folder.resolve()):
        raise ModelError(
            f"{path} keeps tensor {tensor.name!r} in {location!r}, outside of its own folder, where nothing is read; "
            "put the weights beside the model and export it again."
        )
    if not place.is_file():
        raise ModelError(f"{path} keeps tensor {tensor.name!r} in {location!r}, which is missing; copy that file, too.")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Walk over all stored tensors, those of attributes and of graphs inside nodes with them."""
    graphs = [graph]
    while graphs:
        current = graphs.pop()
        yield from current.initializer
        for sparse in current.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in (attribute for node in current.node for attribute in node.attribute):
            yield from (attribute.t, *attribute.tensors)
            graphs += [attribute.g, *attribute.graphs]
