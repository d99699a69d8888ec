"""The masked oracle: the teacher at full size, kept from reading what a plan cuts."""

from __future__ import annotations

from deploycompress.channels.records import Channels, Role
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Array, Graph
from deploycompress.plan import Plan
from deploycompress.surgery.kernels import masked_kernels
from deploycompress.surgery.mask_reads import mask_reads
from deploycompress.surgery.masks import Mask, kept_channels
from deploycompress.surgery.remove import remove_blocks


def masked(graph: Graph, plan: Plan, *, channels: Channels | None = None) -> Graph:
    """Set the weights that read cut channels to zero, and those outside the kernels that stay.

    Norms and sums over channels have no weights: they are written out so that they range over what stays. Blocks are
    removed as in the slim graph.

    Args:
        graph: the graph the plan was made for.
        plan: what to keep from being read.
        channels: what `trace_channels` gave for the graph without the plan's blocks, to spare tracing again.

    Returns:
        A graph of the size of the given one (without blocks) and of the slim one's function.

    Raises:
        PlanError: the plan does not fit the graph.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> oracle = deploycompress.masked(graph, deploycompress.Plan(keep={"0": (0, 3, 5)}))
        >>> [bool(oracle.weights["2.weight"][:, channel].any()) for channel in range(4)]
        [True, False, False, True]
    """
    whole = remove_blocks(graph, plan.remove) if plan.remove else graph
    channels = channels or trace_channels(whole)
    kept = kept_channels(channels, plan)
    shrunk = masked_kernels(whole, plan.kernels) if plan.kernels else whole
    return mask_reads(shrunk.with_weights(_zeroed(shrunk, channels, kept)), channels, kept)


def _zeroed(graph: Graph, channels: Channels, kept: Mask) -> dict[str, Array]:
    zeroed: dict[str, Array] = {}
    for tie in channels.ties:
        cut = ~kept[tie.channels]
        if tie.role == Role.READS and cut.any():
            weight = zeroed.get(tie.tensor, graph.weights[tie.tensor]).copy()
            weight[tuple(cut if axis == tie.axis else slice(None) for axis in range(weight.ndim))] = 0
            zeroed[tie.tensor] = weight
    return zeroed
