"""Model file, ONNX model or torch module to teacher graph: load safely, export, settle shapes, verify."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
from torch import nn

from deploycompress.capturing.checkpoint import LoadedModule, load_module
from deploycompress.capturing.export import evaluation_mode
from deploycompress.capturing.file_kind import FileKind, file_kind
from deploycompress.capturing.from_module import capture_module
from deploycompress.capturing.from_onnx import capture_onnx
from deploycompress.capturing.limits import LARGEST_TENSOR
from deploycompress.capturing.onnx_file import OLDEST_OPSET, read_onnx
from deploycompress.capturing.settled import OLDEST_IR
from deploycompress.errors import ModelError, UsageError
from deploycompress.graph import Graph, Shape

# What parsers of ONNX, pickle and zip raise on bytes that were flipped, apart from their own errors.
DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error, onnx.checker.ValidationError, onnx.shape_inference.InferenceError,
)  # fmt: skip

Source = str | os.PathLike[str] | onnx.ModelProto | nn.Module


def capture(
    source: Source,
    *,
    input_shape: Shape | Sequence[Shape] | None = None,
    arch: str | None = None,
    trust: bool = False,
    allow: tuple[str, ...] = (),
    max_opset: int = 20,
    max_ir: int = 10,
) -> Graph:
    """Turn a trained network into the teacher graph, and check that both compute the same.

    Args:
        source: path of an ONNX model, a state dict, a pickled module, a TorchScript file or a `.pt2` program; or an
            ONNX model or torch module in memory, which is left as it was.
        input_shape: shape of the input, batch first, where the source does not say; one shape for each of several.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in the file may run.
        allow: `package.module:Class` entries that a pickled module may use.
        max_opset: newest ONNX operator set the device reads.
        max_ir: newest ONNX file format version the device reads.

    Returns:
        Graph with symbolic batch axis and otherwise static shapes, whose outputs differ from the source's by at most
        1e-4 of the largest at batch two. The batch is a number where the module takes no other, as detection networks
        do, and sizes that depend on the data are `UNKNOWN_SIZE`.

    Raises:
        UsageError: an option is missing, or does not fit the model.
        MissingShapeError: in particular, `input_shape` is.
        UntrustedModelError: loading would run code or classes nobody allowed.
        ModelError: the model is damaged, unsupported, or changed by capture.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> [node.op for node in graph.nodes]
        ['Conv', 'Relu']
    """
    shapes = _shapes(input_shape)
    _check_limits(shapes or (), max_opset, max_ir)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        kind = file_kind(path)
        if kind is FileKind.ONNX:
            if arch is not None:
                raise UsageError(f"{path} is an ONNX model, so --arch {arch} has no place; leave it out.")
            with _damage_is_a_model_error(str(path)):
                return capture_onnx(read_onnx(path), shapes, max_opset, max_ir)
        with _damage_is_a_model_error(str(path)):
            loaded = load_module(path, kind, arch=arch, trust=trust, allow=allow)
    elif isinstance(source, onnx.ModelProto):
        with _damage_is_a_model_error("The ONNX model"):
            return capture_onnx(source, shapes, max_opset, max_ir)
    else:
        loaded = LoadedModule(module=source)
    with evaluation_mode(loaded.module):
        return capture_module(loaded, shapes, max_opset, max_ir)


@contextmanager
def _damage_is_a_model_error(name: str) -> Iterator[None]:
    """Say in one sentence what a damaged file made a parser stumble over, whatever the parser called it."""
    try:
        yield
    except DAMAGE as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:200]
        raise ModelError(
            f"{name} is damaged or not what it claims to be ({reason}); copy or export it again."
        ) from error


def _shapes(given: Shape | Sequence[Shape] | None) -> tuple[Shape, ...] | None:
    if given is None:
        return None
    if all(isinstance(size, int) for size in given):
        return (tuple(size for size in given if isinstance(size, int)),)
    if not all(isinstance(shape, Sequence) and all(isinstance(size, int) for size in shape) for shape in given):
        raise UsageError(f"input_shape {given} is neither a shape nor one shape for each input.")
    return tuple(tuple(shape) for shape in given if isinstance(shape, Sequence))


def _check_limits(shapes: tuple[Shape, ...], max_opset: int, max_ir: int) -> None:
    for shape in shapes:
        if len(shape) < 2 or any(size < 1 for size in shape):
            raise UsageError(f"--input-shape {shape} is no batch of inputs; expected sizes such as 1,3,32,32.")
        if math.prod(shape[1:]) > LARGEST_TENSOR:
            raise UsageError(f"--input-shape {shape} has {math.prod(shape[1:])} values a sample; check the sizes.")
    if max_opset < OLDEST_OPSET or max_ir < OLDEST_IR:
        raise UsageError(
            f"Operator set {max_opset} and IR version {max_ir} are too old; "
            f"expected at least {OLDEST_OPSET} and {OLDEST_IR}."
        )
