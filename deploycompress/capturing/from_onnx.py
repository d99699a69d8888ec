"""ONNX model to teacher graph: check, settle the operator set and the inputs, free the batch."""

from __future__ import annotations

from dataclasses import replace

import onnx

from deploycompress.capturing.batch_free import free_batch
from deploycompress.capturing.draft import BATCH, draft_from_onnx
from deploycompress.capturing.limits import refuse_huge_tensors
from deploycompress.capturing.onnx_file import check_supported, with_opset
from deploycompress.capturing.parity import in_batches_of, onnx_runner
from deploycompress.capturing.settled import settled
from deploycompress.errors import MissingShapeError, ModelError, UsageError
from deploycompress.graph import Graph, Port, Shape


def capture_onnx(model: onnx.ModelProto, shapes: tuple[Shape, ...] | None, max_opset: int, max_ir: int) -> Graph:
    """Turn an ONNX model into the teacher graph.

    Raises:
        UsageError: the shapes do not fit the model.
        MissingShapeError: more than the batch is open.
        ModelError: the model is damaged, unsupported, or changed by capture.
    """
    model = check_supported(model)
    draft = draft_from_onnx(with_opset(model, max_opset))
    draft = replace(draft, inputs=_sized_inputs(draft.inputs, shapes))
    fixed_batch = _fixed_batch(draft.inputs)
    if fixed_batch is None:
        inputs = tuple(replace(port, shape=(BATCH, *port.shape[1:])) for port in draft.inputs)
        draft = replace(draft, inputs=inputs)
    refuse_huge_tensors(draft)  # before ONNX Runtime tries to make them
    run = onnx_runner(model, "the model")
    if fixed_batch is None:
        return settled(draft, run, max_ir)
    try:
        return settled(free_batch(draft, fixed_batch), in_batches_of(fixed_batch, run), max_ir)
    except ModelError:  # it needs this batch: a detection network, or one whose outputs are no rows of samples
        return settled(draft, run, max_ir)


def _sized_inputs(ports: tuple[Port, ...], shapes: tuple[Shape, ...] | None) -> tuple[Port, ...]:
    if shapes is not None:
        if len(ports) != len(shapes):
            raise UsageError(f"--input-shape gives {len(shapes)} shapes; this model has {len(ports)} inputs.")
        ports = tuple(_sized(port, shape) for port, shape in zip(ports, shapes, strict=True))
    for port in ports:
        if not port.shape or any(isinstance(axis, str) for axis in port.shape[1:]):
            raise MissingShapeError(
                f"Input {port.name!r} has shape {port.shape}, of which only the batch may be open; give --input-shape."
            )
    return ports


def _sized(port: Port, shape: Shape) -> Port:
    fixed = port.shape
    fits = len(fixed) in (0, len(shape)) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(fixed[1:], shape[1:], strict=False)
    )
    if not fits:
        raise UsageError(f"--input-shape {shape} does not fit the model's input {port.name!r} {fixed}.")
    return replace(port, shape=(fixed[0] if fixed else BATCH, *shape[1:]))


def _fixed_batch(ports: tuple[Port, ...]) -> int | None:
    firsts = {port.shape[0] for port in ports}
    if all(isinstance(first, str) for first in firsts):
        return None
    if len(firsts) > 1:
        raise ModelError(f"The model's inputs have different first axes ({firsts}), so none is the batch.")
    return int(firsts.pop())
