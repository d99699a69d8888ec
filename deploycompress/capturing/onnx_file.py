"""Reads ONNX models of unknown origin: self-contained, standard operators only, in an operator set we work with."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # has no stubs
from onnx import external_data_helper, inliner

from deploycompress.errors import ModelError
from deploycompress.graph import DEFAULT_DOMAINS

OLDEST_OPSET = 13  # from here on, axes and split sizes are inputs, as the tracer expects
KNOWN_DOMAINS = DEFAULT_DOMAINS | {"com.microsoft"}
LARGEST_FILE = 2**31 - 1  # bytes; protobuf's own limit
CONVERSION_SECONDS = 120


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file with its external weights, which must lie in its folder.

    Raises:
        ModelError: the file is damaged or too large, or its external weights are missing or lie elsewhere.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ModelError(f"{path} has {path.stat().st_size} bytes, over ONNX's limit of 2 GiB; use external data.")
    folder = path.absolute().parent
    try:
        model = onnx.load(path.absolute(), load_external_data=False)
        for tensor in stored_tensors(model.graph):
            if external_data_helper.uses_external_data(tensor):
                refuse_outside(tensor, folder, path)
        external_data_helper.load_external_data_for_model(model, str(folder))
        return model
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelError(f"{path} cannot be read as ONNX ({reason}); export it again as one file.") from error


def stored_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Give every constant of a graph, in attributes and subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for subgraph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from stored_tensors(subgraph)


def refuse_outside(tensor: onnx.TensorProto, folder: Path, path: Path) -> None:
    """Refuse external weights that do not lie in the model's folder, links followed.

    Raises:
        ModelError: they lie elsewhere, or are no file.
    """
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    place = (folder / location).resolve()
    if not location or not place.is_relative_to(folder.resolve()) or not place.is_file():
        raise ModelError(
            f"{path} keeps weight {tensor.name!r} in {location!r}, which is no file in the model's folder; "
            "put the file there and export again."
        )


def check_supported(model: onnx.ModelProto) -> onnx.ModelProto:
    """Refuse what cannot be compressed or trusted, and inline local functions.

    Raises:
        ModelError: the model is empty, uses custom operators, or keeps weights elsewhere.
    """
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise ModelError("The ONNX model has no nodes, no inputs or no outputs; the file is empty or damaged.")
    if not any(entry.domain in DEFAULT_DOMAINS for entry in model.opset_import):
        raise ModelError("The ONNX model imports no ONNX operator set; export it again with a current exporter.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in stored_tensors(model.graph)):
        raise ModelError("The ONNX model keeps weights in another file; give the path of the .onnx file instead.")
    if model.graph.sparse_initializer:
        raise ModelError("The ONNX model has sparse weights, which are not supported; export it with dense ones.")
    if model.functions:
        model = inliner.inline_local_functions(model)
    if any("" in (*node.input[-1:], *node.output) for node in model.graph.node):
        model = _without_gaps(model)
    for node in model.graph.node:
        if node.domain not in KNOWN_DOMAINS or node.op_type == "EPContext":
            raise ModelError(
                f"Node {node.name!r} is {node.domain}::{node.op_type}, no standard operator; expected ONNX's own "
                "(or com.microsoft): export without custom operators."
            )
    return model


def _without_gaps(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop omitted inputs and outputs at the end of a node, and name the outputs that a Split omits.

    Both are legal; ONNX Runtime 1.31 crashes on some of them (LayerNormalization with an empty bias).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        for names in (node.input, node.output):
            if names is node.output and node.op_type == "Split":
                named = [name or f"{node.name or 'split'}.{index}.{place}" for place, name in enumerate(names)]
                del names[:]
                names.extend(named)
            while names and not names[-1]:
                del names[-1]
    return copy


def with_opset(model: onnx.ModelProto, newest: int) -> onnx.ModelProto:
    """Bring a model to an operator set between `OLDEST_OPSET` and `newest`.

    The converter is C++ that has crashed on odd graphs, so it runs in a process of its own.

    Raises:
        ModelError: the model cannot be converted.
    """
    opset = max(entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS)
    if OLDEST_OPSET <= opset <= newest:
        return model
    target = OLDEST_OPSET if opset < OLDEST_OPSET else newest
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        source, result = Path(folder, "source.onnx"), Path(folder, "result.onnx")
        source.write_bytes(serialised(model))
        # By its path and with -P: with -m, a file named onnx.py in the current folder would run.
        converter = Path(__file__).with_name("convert_opset.py")
        command = [sys.executable, "-P", str(converter), str(source), str(result), str(target)]
        try:
            done = subprocess.run(  # noqa: S603 our own module, on files we wrote
                command, capture_output=True, timeout=CONVERSION_SECONDS, check=False, text=True
            )
            failure = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            failure = f"no result after {CONVERSION_SECONDS} s"
        if not result.exists():
            raise ModelError(
                f"The model uses ONNX operator set {opset}, and converting it to {target} fails ({failure[:200]}); "
                f"export it again with an operator set from {OLDEST_OPSET} to {newest}."
            )
        return onnx.load(result)


def serialised(model: onnx.ModelProto) -> bytes:
    """Serialise a model.

    Raises:
        ModelError: it is larger than 2 GiB.
    """
    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError) as error:
        raise ModelError(f"The model cannot be serialised ({error}); ONNX files end at 2 GiB.") from error
