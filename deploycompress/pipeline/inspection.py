"""What can be taken out of a network and what each part costs: the record behind `deploycompress inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import MeasureError, ModelError
from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph, Port
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.node_times import NodeTimes
from deploycompress.measuring.static import node_macs, params, trained_constants
from deploycompress.profile import Profile
from deploycompress.quantize.operators import is_quantized
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.surgery.kernels import KernelChoice, kernel_choices
from deploycompress.views import constant_views

Document = dict[str, Any]  # Any: JSON

SCHEMA = 1
QUANTIZED = (
    "The model is quantised, and quantised layers are not cut: its channel groups, blocks and kernels are not shown. "
    "Inspect the float model that it was made from."
)
NO_PARTS: Document = {"groups": [], "blocks": [], "kernels": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """What single nodes cost.

    Attributes:
        macs: by node; absent where a size depends on the data.
        why_not: the reason why some are absent, empty when none is.
        shares: of the measured latency by node; nothing when it was not measured.
        trained: names of the trained constants.
    """

    macs: Mapping[str, int]
    why_not: str
    shares: Mapping[str, float] | None
    trained: frozenset[str]

    def total_macs(self, nodes: Iterable[str]) -> int | None:
        """Sum over nodes, nothing when one of them is not known."""
        found = [self.macs.get(name) for name in nodes]
        known = [count for count in found if count is not None]
        return sum(known) if len(known) == len(found) else None

    def total_share(self, nodes: Iterable[str]) -> float | None:
        """Sum over nodes, nothing when nothing was measured."""
        return None if self.shares is None else sum(self.shares.get(name, 0.0) for name in nodes)


def inspect(graph: Graph, *, profile: Profile | None = None, why_not_measured: str = "") -> Document:
    """Describe a graph: what may be cut, removed or shrunk, and what each part costs.

    Args:
        graph: a captured graph.
        profile: where to measure latency; none to measure nothing.
        why_not_measured: what the document says in that case.

    Returns:
        JSON of schema 1, described in docs/inspect.md. Its lists follow the order of the graph.

    Raises:
        MeasureError: the profile's device is not available, or the graph could not be measured.
        ModelError: the graph is not fit for the profile's runtime.

    Examples:
        >>> import deploycompress, torch
        >>> graph = deploycompress.capture(torch.nn.Conv2d(3, 8, 3, padding=1), input_shape=(1, 3, 8, 8))
        >>> document = deploycompress.inspect(graph)
        >>> document["params"], document["macs"], document["kernels"][0]["sizes"]
        (224, 13824, [1])
    """
    times = None if profile is None else _measure(graph, profile)
    costs = _costs(graph, times)
    is_rounded = any(is_quantized(node) for node in graph.nodes)
    return {
        "schema": SCHEMA,
        "profile": None if profile is None else profile.name,
        "evidence": {
            "params": str(Evidence.ANALYTIC),
            "macs": str(Evidence.ANALYTIC),
            "share": None if times is None else str(times.evidence),
        },
        "params": params(graph),
        "macs": None if costs.why_not else sum(costs.macs.values()),
        "why_no_macs": costs.why_not,
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "opset": graph.opset,
        "operators": dict(sorted(Counter(node.op for node in graph.nodes).items())),
        "latency": None if times is None else _latency(times),
        "why_no_latency": "" if times is not None else why_not_measured,
        "why_no_groups": QUANTIZED if is_rounded else "",
        **(NO_PARTS if is_rounded else _parts(graph, costs)),
        "nodes": _nodes(graph, costs, {} if times is None else times.fused_into),
    }


def _parts(graph: Graph, costs: _Costs) -> Document:
    """List what may be cut, removed or shrunk."""
    channels = trace_channels(graph)
    return {
        "groups": _groups(graph, channels, costs),
        "blocks": [_block(graph, block, costs) for block in blocks(graph, channels=channels)],
        "kernels": _kernels(graph, kernel_choices(graph), costs),
    }


def _measure(graph: Graph, profile: Profile) -> NodeTimes:
    with Meter(profile) as meter:
        times = meter.node_times(graph)
    if not times.total_us:
        raise MeasureError(
            "Every kernel of the network takes less than the microsecond that ONNX Runtime's profiler resolves; "
            "inspect it with --no-measure."
        )
    return times


def _costs(graph: Graph, times: NodeTimes | None) -> _Costs:
    macs, why_not = {}, ""
    for node in graph.nodes:
        try:
            macs[node.name] = node_macs(graph, node)
        except ModelError as error:
            why_not = why_not or str(error)
    return _Costs(
        macs=macs, why_not=why_not, shares=None if times is None else times.shares, trained=trained_constants(graph)
    )


def _port(port: Port) -> Document:
    return {"name": port.name, "shape": list(port.shape)}


def _latency(times: NodeTimes) -> Document:
    return {
        "machine": {**asdict(times.conditions.machine), "onnxruntime": times.conditions.onnxruntime},
        "runs": times.runs,
        "kernels": len(times.kernels),
        "kernels_ms": times.total_us / 1000,
        "other": sum(times.other.values()),
        "other_by_operator": dict(sorted(times.other.items())),
    }


def _groups(graph: Graph, channels: Channels, costs: _Costs) -> list[Document]:
    touching = _nodes_of_groups(graph, channels)
    found = []
    for index, group in enumerate(channels.groups):
        tensors = {tensor for tensor, _ in group.members} & costs.trained
        found.append(
            {
                "name": group.name,
                "width": group.width,
                "members": [[tensor, axis] for tensor, axis in group.members],
                "params": sum(int(graph.weights[name].size) for name in tensors),
                "macs": costs.total_macs(touching[index]),
                "share": costs.total_share(touching[index]),
                "frozen": group.frozen,
                "why": group.why,
            }
        )
    return found


def _nodes_of_groups(graph: Graph, channels: Channels) -> list[list[str]]:
    """Name, for each group, the nodes that make, carry or read its channels, in graph order."""
    views = constant_views(graph)
    readers: dict[str, set[str]] = {}
    for node in graph.nodes:
        for name in node.reads:
            if name in views:
                readers.setdefault(views[name].constant, set()).add(node.name)
    found = [set().union(*(readers.get(tensor, set()) for tensor, _ in group.members)) for group in channels.groups]
    for tie in channels.reads:
        for index in {int(group) for group in channels.group_of[tie.channels] if group >= 0}:
            found[index].add(tie.node)
    return [[node.name for node in graph.nodes if node.name in names] for names in found]


def _block(graph: Graph, block: Block, costs: _Costs) -> Document:
    inside = set(block.nodes)
    goes = {name for node in graph.nodes if node.name in inside for name in node.reads}
    stays = {name for node in graph.nodes if node.name not in inside for name in node.reads}
    return {
        "name": block.name,
        "kind": block.kind,
        "nodes": list(block.nodes),
        "params": sum(int(graph.weights[name].size) for name in (goes - stays) & costs.trained),
        "macs": costs.total_macs(block.nodes),
        "share": costs.total_share(block.nodes),
    }


def _kernels(graph: Graph, choices: tuple[KernelChoice, ...], costs: _Costs) -> list[Document]:
    layers = {node.input(1).removesuffix(".weight"): node.name for node in graph.nodes if node.op == "Conv"}
    return [
        {
            "layer": choice.layer,
            "kernel": list(choice.kernel),
            "sizes": list(choice.sizes),
            "macs": costs.macs.get(layers[choice.layer]),
        }
        for choice in choices
    ]


def _nodes(graph: Graph, costs: _Costs, fused_into: Mapping[str, str]) -> list[Document]:
    return [
        {
            "name": node.name,
            "op": node.op,
            "macs": costs.macs.get(node.name),
            "share": None if costs.shares is None else costs.shares.get(node.name),
            "fused_into": fused_into.get(node.name),
        }
        for node in graph.nodes
    ]
