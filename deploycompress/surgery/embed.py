"""Puts trained weights back where surgery took them from."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Array, Graph
from deploycompress.plan import Plan
from deploycompress.surgery.cut import selections
from deploycompress.surgery.masks import kept_channels


def embed(graph: Graph, plan: Plan, student: Graph, *, channels: Channels | None = None) -> Graph:
    """Put a trained student's weights back in the places of the graph that its plan kept.

    This is the inverse of `slim`: `slim(embed(graph, plan, student), plan)` is the student again, and
    plans that cut further can be applied to the trained weights under the original channel numbers.

    Args:
        graph: the graph the student was cut from.
        plan: the plan that cut it; its blocks and kernels must be those of the graph already.
        student: `slim(graph, plan)` with other weights.
        channels: what `trace_channels(graph)` gave, to spare tracing again.

    Raises:
        PlanError: the plan does not fit the graph or the student, or does more than cut channels.
    """
    if plan.remove or plan.kernels:
        raise PlanError("Only channels can be put back; remove blocks and shrink kernels first, then embed.")
    channels = channels or trace_channels(graph)
    taken = selections(graph, channels, kept_channels(channels, plan))
    updated: dict[str, Array] = {}
    for name, array in student.weights.items():
        if name not in graph.weights or not np.issubdtype(array.dtype, np.floating):
            continue
        whole = graph.weights[name].copy()
        axes_left = taken.get(name, [None] * whole.ndim)
        left = tuple(length if kept is None else len(kept) for kept, length in zip(axes_left, whole.shape, strict=True))
        if array.shape != left:
            raise PlanError(f"The student's {name!r} has shape {array.shape}, but its plan leaves {left}.")
        axes = [
            np.arange(length) if kept is None else kept for kept, length in zip(axes_left, whole.shape, strict=True)
        ]
        whole[np.ix_(*axes)] = array
        updated[name] = whole
    return graph.with_weights(updated)
