"""Draft to graph: simplify until nothing changes, write the outputs' shapes, and check against the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from deploycompress.capturing.broadcasts import drop_expansions, settle_resizes
from deploycompress.capturing.cleanup import (
    drop_unread_outputs,
    remove_no_ops,
    separate_equal_weights,
    unshare_size_constants,
)
from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.fold import fold_constants
from deploycompress.capturing.parity import SAMPLES, Run, random_inputs
from deploycompress.capturing.settle import settle_sizes
from deploycompress.capturing.unfold import unfold
from deploycompress.capturing.verification import verify
from deploycompress.capturing.view import BATCHES, BatchView, view_at
from deploycompress.errors import ModelError
from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Port, graph_from_onnx

LARGEST_ROUNDS = 50  # most models need two
OLDEST_IR = 4  # before it, weights had to be inputs
USUAL_IR = 8  # belongs to operator set 17


def settled(draft: Graph, reference: Run, max_ir: int, tied: Mapping[str, str] | None = None) -> Graph:
    """Make a graph of a draft and verify it.

    Args:
        draft: what was read; axis `BATCH` of its inputs is the batch.
        reference: runs the source.
        max_ir: newest ONNX file format version the device reads.
        tied: for each parameter of a weight-tied module, the name that stands for all of its group.

    Raises:
        ModelError: the draft contradicts itself, or does not compute what the source computes.
    """
    expected = reference(random_inputs(draft.inputs, SAMPLES))
    draft = _with_known_outputs(_simplified(separate_equal_weights(draft, tied or {})), expected)
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
    verify(graph, reference, expected)
    return graph


def _simplified(draft: Graph) -> Graph:
    parameters = frozenset(draft.weights)
    draft = drop_unread_outputs(unfold(draft))
    for _ in range(LARGEST_ROUNDS):
        before = draft
        view = view_at(draft)
        draft = settle_sizes(fold_constants(draft, view, parameters), view, BATCHES)
        draft = drop_expansions(settle_resizes(draft, view), view)
        draft = drop_unread_outputs(remove_no_ops(draft, view))
        if len(draft.nodes) == len(before.nodes) and draft.weights.keys() == before.weights.keys():
            break
    return unshare_size_constants(draft)


def _with_known_outputs(draft: Graph, expected: list[Array]) -> Graph:
    """Write the outputs' shapes from what is inferred at two batch sizes; else their rank as found."""
    view = view_at(draft)
    has_batch = any(BATCH in port.shape for port in draft.inputs)
    ports = [
        _known(port, view, has_batch=has_batch, rank=array.ndim)
        for port, array in zip(draft.outputs, expected, strict=True)
    ]
    return replace(draft, outputs=tuple(ports))


def _known(port: Port, view: BatchView, *, has_batch: bool, rank: int) -> Port:
    unknown = (UNKNOWN_SIZE,) * rank
    first, second = view.partial.get(port.name, (unknown, unknown))
    start = (first[0], second[0]) if first else ()
    if (has_batch and start not in (BATCHES, (UNKNOWN_SIZE, UNKNOWN_SIZE))) or first[1:] != second[1:]:
        raise ModelError(
            f"Output {port.name!r} has shape {first} for a batch of {BATCHES[0]} and {second} for {BATCHES[1]}; "
            "expected one row per sample and static sizes: give --input-shape or export with fixed sizes."
        )
    axes = [size if size != UNKNOWN_SIZE else f"{port.name}.{axis}" for axis, size in enumerate(first)]
    shape = (BATCH, *axes[1:]) if start == BATCHES and has_batch else tuple(axes)
    return replace(port, dtype=view.types.get(port.name) or port.dtype, shape=shape)
