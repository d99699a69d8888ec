"""Two plans, one after the other, as one plan for the graph that the first was made for."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.records import NO_CHANNEL, Channels, WeightTie
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.cut import cut_channels
from deploycompress.surgery.kernels import kernel_choices
from deploycompress.surgery.masks import Mask, kept_channels
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.slim import slim


def compose(graph: Graph, first: Plan, second: Plan) -> Plan:
    """Join two plans so that `slim(graph, joined)` is `slim(slim(graph, first), second)`.

    Args:
        graph: the graph that `first` was made for.
        first: what is done first.
        second: made for `slim(graph, first)`; its channel numbers count what `first` left. A precision below single
            is its own; where it has none, the first plan's stays.

    Raises:
        PlanError: a plan does not fit, or no single plan says both: `second` removes a block whose removal unites
            channels that `first` cut differently, or cuts channels that only `first` made go together.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> first, second = deploycompress.Plan(keep={"0": (1, 3, 5)}), deploycompress.Plan(keep={"0": (0, 2)})
        >>> deploycompress.compose(graph, first, second).keep
        {'0': (1, 5)}
    """
    lowest = first if second.precision is Precision.FP32 else second
    remove = (*first.remove, *_original_names(graph, first, second)) if second.remove else first.remove
    left = _without(graph, remove)
    channels = trace_channels(left)
    if second.remove:
        first = _of_what_is_left(trace_channels(_without(graph, first.remove)), channels, left, first, second)
    kept = kept_channels(channels, Plan(keep=first.keep))
    if second.keep:
        later = trace_channels(cut_channels(left, channels, kept))
        kept = _both(channels, kept, later, kept_channels(later, Plan(keep=second.keep)))
    layers = {name.removesuffix(".weight") for name in left.weights}
    return Plan(
        remove=remove,
        keep=_as_keep(channels, kept),
        kernels={**first.kernels, **second.kernels},
        precision=lowest.precision,
        higher=tuple(layer for layer in lowest.higher if layer in layers),
    )


def _original_names(graph: Graph, first: Plan, second: Plan) -> list[str]:
    """Name the second plan's blocks as the first graph does: names count on, and a removal may shift them."""
    between = slim(graph, first)
    gone = {node.name for node in graph.nodes} - {node.name for node in between.nodes}
    whole = {frozenset(block.nodes) - gone: block.name for block in reversed(blocks(graph))}
    later = {block.name: frozenset(block.nodes) for block in blocks(between)}
    unknown = [name for name in second.remove if later.get(name) not in whole]
    if unknown:
        raise PlanError(
            f"The second plan removes block {unknown[0]!r}, which the first graph does not have; remove blocks first."
        )
    # two blocks may be of the same nodes: an activation on its own, and as what keeps two layers apart
    names = dict.fromkeys(whole[later[found]] for found in second.remove)
    return [name for name in names if name not in first.remove]


def _without(graph: Graph, names: tuple[str, ...]) -> Graph:
    return remove_blocks(graph, names) if names else graph


def _of_what_is_left(before: Channels, after: Channels, left: Graph, first: Plan, second: Plan) -> Plan:
    """Drop from the first plan what the second removes whole, and refuse what its removal changes."""
    old, new = ({group.name: group for group in channels.groups} for channels in (before, after))
    keep = {
        name: indices
        for name, indices in first.keep.items()
        if any(tensor in left.weights for tensor, _ in old[name].members)
    }
    for name in keep:
        same = name in new and set(new[name].members) <= set(old[name].members)
        if not same or new[name].width != old[name].width:
            raise PlanError(
                f"Group {name!r}, which the first plan cuts, is not the same any more once {', '.join(second.remove)} "
                "is removed; remove blocks first, then cut channels."
            )
    layers = {choice.layer for choice in kernel_choices(left)}
    kernels = {layer: size for layer, size in first.kernels.items() if layer in layers}
    return Plan(remove=first.remove, keep=keep, kernels=kernels)


def _both(channels: Channels, kept: Mask, later: Channels, kept_later: Mask) -> Mask:
    """Say in the first graph's channel numbers what stays of them after a second cut."""
    wholes = {_place(tie): tie for tie in channels.ties}
    pairs = [
        (whole.channels[kept[whole.channels]], tie.channels)
        for tie in later.ties
        if (whole := wholes.get(_place(tie))) is not None
    ]
    result = kept.copy()
    for originals, numbers in pairs:
        result[originals[~kept_later[numbers]]] = False
    result[NO_CHANNEL] = True
    if any(not np.array_equal(result[originals], kept_later[numbers]) for originals, numbers in pairs):
        raise PlanError(
            "The second plan cuts channels that go together only since the first plan; make a new plan from the whole "
            "model instead."
        )
    return result


def _place(tie: WeightTie) -> tuple[str, int, str]:
    return tie.tensor, tie.axis, tie.role


def _as_keep(channels: Channels, kept: Mask) -> dict[str, tuple[int, ...]]:
    stays = {group.name: kept[channels.members_of(index)] for index, group in enumerate(channels.groups)}
    return {name: tuple(map(int, np.flatnonzero(mask))) for name, mask in stays.items() if not mask.all()}
