"""Apply a plan to a graph: blocks first, then kernels and channels, by slicing alone."""

from __future__ import annotations

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.surgery.cut import cut_channels
from deploycompress.surgery.kernels import shrink_kernels
from deploycompress.surgery.masks import kept_channels
from deploycompress.surgery.remove import remove_blocks


def slim(graph: Graph, plan: Plan, *, channels: Channels | None = None) -> Graph:
    """Remove a plan's blocks, shrink its kernels, and cut the channels that it does not keep.

    Args:
        graph: the graph the plan was made for.
        plan: what goes.
        channels: what `trace_channels` gave for the graph without the plan's blocks, to spare tracing again.

    Returns:
        A smaller graph with the same inputs and outputs; the given one is left as it was.

    Raises:
        PlanError: the plan does not fit the graph.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> small = deploycompress.slim(graph, deploycompress.Plan(keep={"0": (0, 3, 5)}))
        >>> small.weights["0.weight"].shape, small.weights["2.weight"].shape
        ((3, 3, 3, 3), (4, 3, 3, 3))
    """
    if plan.remove:
        graph = remove_blocks(graph, plan.remove)
    if plan.kernels:
        graph = shrink_kernels(graph, plan.kernels)
    if not plan.keep:
        return graph
    channels = channels or trace_channels(graph)
    return cut_channels(graph, channels, kept_channels(channels, plan))
