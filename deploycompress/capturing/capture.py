"""Model file, ONNX model or torch module to teacher graph: load safely, export, settle shapes, verify."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from torch import nn

from deploycompress.capturing.batch_free import free_batch, settle_sizes
from deploycompress.capturing.checkpoint import LoadedModule, load_module
from deploycompress.capturing.cleanup import (
    drop_unread_outputs,
    remove_no_ops,
    separate_equal_weights,
    unshare_size_constants,
)
from deploycompress.capturing.draft import BATCH, LARGEST_TENSOR, draft_from_onnx, infer_types, refuse_huge_tensors
from deploycompress.capturing.export import EXPORT_OPSET, evaluation_mode, export_module, run_module, tied_parameters
from deploycompress.capturing.file_kind import FileKind, file_kind
from deploycompress.capturing.fold import BATCHES, fold_constants, view_at_two_batches
from deploycompress.capturing.onnx_file import OLDEST_OPSET, check_supported, read_onnx, with_opset
from deploycompress.capturing.parity import Run, in_batches_of, onnx_runner, random_inputs, verify
from deploycompress.errors import MissingShapeError, ModelError, UsageError
from deploycompress.graph import Array, Graph, Port, graph_from_onnx

LARGEST_ROUNDS = 200  # each round settles at least one reshape; most models need two to six
OLDEST_IR = 4  # before it, weights had to be inputs
USUAL_IR = 8  # belongs to operator set 17
TRACED_BATCH = 3  # not the batch that verifies, so that a batch size frozen by tracing is noticed

# What parsers of ONNX, pickle and zip raise on bytes that were flipped, apart from their own errors.
DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Source = str | os.PathLike[str] | onnx.ModelProto | nn.Module


def capture(
    source: Source,
    *,
    input_shape: tuple[int, ...] | None = None,
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
        input_shape: shape of the input, batch first, where the source does not say.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in the file may run.
        allow: `package.module:Class` entries that a pickled module may use.
        max_opset: newest ONNX operator set the device reads.
        max_ir: newest ONNX file format version the device reads.

    Returns:
        Graph with symbolic batch axis and otherwise static shapes, whose outputs differ from the source's by at most
        1e-4 of the largest at batch two.

    Raises:
        UsageError: an option is missing, or does not fit the model.
        MissingShapeError: in particular, `input_shape` is.
        UntrustedModelError: loading would run code or classes nobody allowed.
        ModelError: the model is damaged, unsupported, or changed by capture.
    """
    _check_limits(input_shape, max_opset, max_ir)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        kind = file_kind(path)
        if kind is FileKind.ONNX:
            if arch is not None:
                raise UsageError(f"{path} is an ONNX model, so --arch {arch} has no place; leave it out.")
            with _damage_is_a_model_error(str(path)):
                return _capture_onnx(read_onnx(path), input_shape, max_opset, max_ir)
        with _damage_is_a_model_error(str(path)):
            loaded = load_module(path, kind, arch=arch, trust=trust, allow=allow)
    elif isinstance(source, onnx.ModelProto):
        with _damage_is_a_model_error("The ONNX model"):
            return _capture_onnx(source, input_shape, max_opset, max_ir)
    else:
        loaded = LoadedModule(module=source)
    with evaluation_mode(loaded.module):
        return _capture_module(loaded, input_shape, max_opset, max_ir)


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


def _check_limits(input_shape: tuple[int, ...] | None, max_opset: int, max_ir: int) -> None:
    if input_shape is not None and (len(input_shape) < 2 or any(size < 1 for size in input_shape)):
        raise UsageError(f"--input-shape {input_shape} is no batch of inputs; expected sizes such as 1,3,32,32.")
    if input_shape is not None and math.prod(input_shape[1:]) > LARGEST_TENSOR:
        raise UsageError(
            f"--input-shape {input_shape} has {math.prod(input_shape[1:])} values a sample; check the sizes."
        )
    if max_opset < OLDEST_OPSET or max_ir < OLDEST_IR:
        raise UsageError(
            f"Operator set {max_opset} and IR version {max_ir} are too old; "
            f"expected at least {OLDEST_OPSET} and {OLDEST_IR}."
        )


def _capture_module(loaded: LoadedModule, input_shape: tuple[int, ...] | None, max_opset: int, max_ir: int) -> Graph:
    module = loaded.module
    shape = input_shape or loaded.input_shape
    if shape is None:
        raise MissingShapeError(
            f"A {type(module).__name__} does not say what input it takes; give --input-shape, such as 1,3,32,32."
        )
    device, dtype = _device_and_dtype(module)
    port = Port(name="input", dtype=onnx.TensorProto.FLOAT, shape=(BATCH, *shape[1:]))
    batch = loaded.fixed_batch or TRACED_BATCH
    example = torch.from_numpy(random_inputs((port,), batch)[0]).to(device, dtype)
    outputs = run_module(module, example)
    model = export_module(module, example, len(outputs), min(EXPORT_OPSET, max_opset))

    def reference(inputs: list[Array]) -> list[Array]:
        return run_module(module, torch.from_numpy(inputs[0]).to(device, dtype))

    draft = draft_from_onnx(model)
    if isinstance(module, torch.fx.GraphModule):  # tracing an exported program freezes the batch in its reshapes
        draft = free_batch(draft, batch)
    checked = in_batches_of(loaded.fixed_batch, reference) if loaded.fixed_batch else reference
    return _settled(draft, tied_parameters(module), checked, max_ir)


def _device_and_dtype(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    tensors = list(module.state_dict().values())
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if kinds - {torch.float32}:
        found = ", ".join(sorted(str(kind) for kind in kinds))
        raise ModelError(
            f"{type(module).__name__} has weights of {found}, expected float32; call .float() before saving."
        )
    return (tensors[0].device if tensors else torch.device("cpu")), torch.float32


def _capture_onnx(model: onnx.ModelProto, input_shape: tuple[int, ...] | None, max_opset: int, max_ir: int) -> Graph:
    model = check_supported(model)
    draft = draft_from_onnx(with_opset(model, max_opset))
    draft = replace(draft, inputs=_sized_inputs(draft.inputs, input_shape))
    fixed_batch = _fixed_batch(draft.inputs)
    if fixed_batch is None:
        inputs = tuple(replace(port, shape=(BATCH, *port.shape[1:])) for port in draft.inputs)
        draft = replace(draft, inputs=inputs)
    refuse_huge_tensors(draft)  # before ONNX Runtime tries to make them
    run = onnx_runner(model, "the model")
    if fixed_batch is None:
        return _settled(draft, {}, run, max_ir)
    return _settled(free_batch(draft, fixed_batch), {}, in_batches_of(fixed_batch, run), max_ir)


def _sized_inputs(ports: tuple[Port, ...], input_shape: tuple[int, ...] | None) -> tuple[Port, ...]:
    if input_shape is not None:
        if len(ports) != 1:
            raise UsageError(f"--input-shape is for networks with one input; this model has {len(ports)}.")
        fixed = ports[0].shape
        fits = len(fixed) in (0, len(input_shape)) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(fixed[1:], input_shape[1:], strict=False)
        )
        if not fits:
            raise UsageError(f"--input-shape {input_shape} does not fit the model's input {ports[0].name!r} {fixed}.")
        first = fixed[0] if fixed else BATCH
        ports = (replace(ports[0], shape=(first, *input_shape[1:])),)
    for port in ports:
        if not port.shape or any(isinstance(axis, str) for axis in port.shape[1:]):
            raise MissingShapeError(
                f"Input {port.name!r} has shape {port.shape}, of which only the batch may be open; give --input-shape."
            )
    return ports


def _fixed_batch(ports: tuple[Port, ...]) -> int | None:
    firsts = {port.shape[0] for port in ports}
    if all(isinstance(first, str) for first in firsts):
        return None
    if len(firsts) > 1:
        raise ModelError(f"The model's inputs have different first axes ({firsts}), so none is the batch.")
    return int(firsts.pop())


def _settled(draft: Graph, tied: Mapping[str, str], reference: Run, max_ir: int) -> Graph:
    draft = drop_unread_outputs(separate_equal_weights(draft, tied))
    for _ in range(LARGEST_ROUNDS):
        before = draft
        view = view_at_two_batches(draft)
        draft = drop_unread_outputs(remove_no_ops(settle_sizes(fold_constants(draft, view), view), view))
        if len(draft.nodes) == len(before.nodes) and draft.weights.keys() == before.weights.keys():
            break
    draft = _with_known_outputs(unshare_size_constants(draft))
    draft = replace(draft, ir_version=min(max_ir, max(USUAL_IR, draft.ir_version)))
    used = {node.domain for node in draft.nodes}
    draft = replace(draft, domains={name: version for name, version in draft.domains.items() if name in used})
    model = draft.to_onnx()
    try:
        onnx.checker.check_model(model)
        graph = graph_from_onnx(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"The captured graph is not valid ONNX: {reason}") from error
    verify(graph, reference)
    return graph


def _with_known_outputs(draft: Graph) -> Graph:
    """Write the outputs' shapes, batch first, from what is inferred at two batch sizes."""
    first, second = (infer_types(draft, batch) for batch in BATCHES)
    ports: list[Port] = []
    for port in draft.outputs:
        (dtype, one), two = first[port.name], second[port.name][1]
        if one is None or two is None or not one or (one[0], two[0]) != BATCHES or one[1:] != two[1:]:
            raise ModelError(
                f"Output {port.name!r} has shape {one or 'unknown'} for a batch of {BATCHES[0]} and "
                f"{two or 'unknown'} for {BATCHES[1]}; expected one "
                "row per sample and static sizes: give --input-shape or export with fixed sizes."
            )
        ports.append(replace(port, dtype=dtype, shape=(BATCH, *one[1:])))
    return replace(draft, outputs=tuple(ports))
