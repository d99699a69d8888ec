"""Torch module to teacher graph: choose the batch, run, export, settle."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import torch
from torch import Tensor, nn

from deploycompress.capturing.batch_free import free_batch
from deploycompress.capturing.checkpoint import LoadedModule
from deploycompress.capturing.draft import BATCH, draft_from_onnx
from deploycompress.capturing.export import EXPORT_OPSET, export_module, run_module, tied_parameters
from deploycompress.capturing.parity import in_batches_of, random_inputs
from deploycompress.capturing.settled import settled
from deploycompress.errors import MissingShapeError, ModelError, UsageError
from deploycompress.graph import Array, Graph, Port, Shape

_Examples = Callable[[int], tuple[Tensor, ...]]

TRACED_BATCH = 3  # not the batch that verifies, so that a batch size frozen by tracing is noticed


def capture_module(loaded: LoadedModule, shapes: tuple[Shape, ...] | None, max_opset: int, max_ir: int) -> Graph:
    """Turn a module in evaluation mode into the teacher graph.

    Raises:
        MissingShapeError: nobody says what input it takes.
        UsageError: it does not take the input that was named.
        ModelError: it cannot be exported, or capture would change it.
    """
    module = loaded.module
    shapes = shapes or ((loaded.input_shape,) if loaded.input_shape else None)
    if shapes is None:
        raise MissingShapeError(
            f"A {type(module).__name__} does not say what input it takes; give --input-shape, such as 1,3,32,32."
        )
    device = _device(module)

    def examples(batch: int) -> tuple[Tensor, ...]:
        ports = tuple(Port(name="", dtype=onnx.TensorProto.FLOAT, shape=(BATCH, *shape[1:])) for shape in shapes)
        return tuple(torch.from_numpy(array).to(device) for array in random_inputs(ports, batch))

    def reference(inputs: list[Array]) -> list[Array]:
        return list(run_module(module, tuple(torch.from_numpy(array).to(device) for array in inputs)).values())

    opset = min(EXPORT_OPSET, max_opset)
    tied = tied_parameters(module)
    if loaded.fixed_batch is not None:  # an exported program: its reshapes hold the batch, its layers do not
        draft = free_batch(_exported_as_is(module, examples(loaded.fixed_batch), opset), loaded.fixed_batch)
        return settled(draft, in_batches_of(loaded.fixed_batch, reference), max_ir, tied)
    names = _outputs_of_any_batch(module, examples, shapes)
    if names is not None:
        return settled(_exported_with_open_batch(module, examples(TRACED_BATCH), names, opset), reference, max_ir, tied)
    draft = _exported_as_is(module, examples(shapes[0][0]), opset)
    return settled(draft, reference, max_ir, tied)


def _outputs_of_any_batch(module: nn.Module, examples: _Examples, shapes: tuple[Shape, ...]) -> tuple[str, ...] | None:
    """Name the outputs of a module that gives one row per sample, None for one that takes one batch size alone."""
    try:
        results = run_module(module, examples(TRACED_BATCH))
    except UsageError:
        run_module(module, examples(shapes[0][0]))
        return None
    has_rows = all(array.ndim > 0 and array.shape[0] == TRACED_BATCH for array in results.values())
    return tuple(results) if has_rows else None


def _exported_with_open_batch(
    module: nn.Module, examples: tuple[Tensor, ...], outputs: tuple[str, ...], opset: int
) -> Graph:
    """Export with an open batch; some operations the exporter can only write where every size is known."""
    try:
        model = export_module(module, examples, outputs, opset, is_batch_open=True)
    except ModelError:
        model = export_module(module, examples, outputs, opset, is_batch_open=False)
    return free_batch(draft_from_onnx(model), TRACED_BATCH)


def _exported_as_is(module: nn.Module, examples: tuple[Tensor, ...], opset: int) -> Graph:
    outputs = tuple(run_module(module, examples))
    return draft_from_onnx(export_module(module, examples, outputs, opset, is_batch_open=False))


def _device(module: nn.Module) -> torch.device:
    tensors = list(module.state_dict().values())
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if kinds - {torch.float32}:
        found = ", ".join(sorted(str(kind) for kind in kinds))
        raise ModelError(
            f"{type(module).__name__} has weights of {found}, expected float32; call .float() before saving."
        )
    return tensors[0].device if tensors else torch.device("cpu")
