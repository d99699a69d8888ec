"""Latency by node: what ONNX Runtime's profiler says of its kernels, given to the nodes of the graph they came from.

ONNX Runtime rewrites a graph before it runs it. A kernel's time goes to a node only where names prove that the kernel
runs this node; everything else is `other`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.conditions import Conditions
from deploycompress.measuring.kernels import Kernel, kernels_of, nodes_of_kernels
from deploycompress.measuring.reach.failures import UnsoundReplyError
from deploycompress.measuring.reach.words import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """One kernel of ONNX Runtime, with its time in every run.

    Attributes:
        name: ONNX Runtime's name for it.
        op: its operator, after fusion.
        microseconds: one entry a run, in whole microseconds, which is what the profiler gives.
        nodes: names of the graph's nodes it is sure to run, the one that counts its time first; empty if not certain.
    """

    name: str
    op: str
    microseconds: tuple[int, ...]
    nodes: tuple[str, ...]

    @property
    def median_us(self) -> float:
        """Median time of a run."""
        return statistics.median(self.microseconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTimes:
    """Where the time of a graph goes.

    Attributes:
        conditions: machine, runtime and profile.
        runs: number of runs that were profiled.
        kernels: what ran, in the order of execution.
    """

    conditions: Conditions
    runs: int
    kernels: tuple[KernelTime, ...]

    @property
    def evidence(self) -> Evidence:
        """Whether the times were taken on the profile's own device."""
        return self.conditions.evidence

    @property
    def total_us(self) -> float:
        """Sum of the kernels' medians."""
        return sum(kernel.median_us for kernel in self.kernels)

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of the sum by node; a fused kernel counts at the first of its nodes, and its others are absent."""
        return self._shares([(kernel.nodes[0], kernel) for kernel in self.kernels if kernel.nodes])

    @property
    def other(self) -> Mapping[str, float]:
        """Share of the sum that no node could be given, by kernel operator."""
        return self._shares([(kernel.op, kernel) for kernel in self.kernels if not kernel.nodes])

    @property
    def fused_into(self) -> Mapping[str, str]:
        """Map each node that runs in another's kernel to the node that counts the time."""
        return {name: kernel.nodes[0] for kernel in self.kernels for name in kernel.nodes[1:]}

    def _shares(self, placed: list[tuple[str, KernelTime]]) -> Mapping[str, float]:
        total, found = self.total_us, {place: 0.0 for place, _ in placed}
        for place, kernel in placed:
            found[place] += kernel.median_us / total if total else 0.0
        return found


def node_times_from(graph: Graph, reply: Message, conditions: Conditions) -> NodeTimes:
    """Make the record of a measuring process's answer.

    Args:
        graph: what was measured.
        reply: answer to `kernel_times`.
        conditions: of the measurement.

    Raises:
        UnsoundReplyError: the rewritten graph cannot be.
    """
    runs = int(reply["runs"])
    told = reply.get("attached")
    known = _rewritten(told[0]) if told else _unchanged(reply)
    nodes = nodes_of_kernels(graph, known)
    return NodeTimes(
        conditions=conditions,
        runs=runs,
        kernels=tuple(
            KernelTime(
                name=kernel["name"],
                op=kernel["op"],
                microseconds=tuple(kernel["microseconds"][-runs:]),
                nodes=nodes.get(kernel["name"], ()),
            )
            for kernel in reply["kernels"]
            # What runs inside a loop or a branch is in the time of the loop or the branch already.
            if not told or kernel["name"] in nodes
        ),
    )


def _rewritten(data: bytes) -> tuple[Kernel, ...]:
    try:
        return kernels_of(onnx.load_model_from_string(data).graph.node)
    except (DecodeError, ValueError) as error:
        raise UnsoundReplyError(
            f"The device sent {len(data)} bytes for its rewritten graph that are no model: {shown(str(error), 200)}."
        ) from error


def _unchanged(reply: Message) -> tuple[Kernel, ...]:
    """Take kernels by name alone where the rewritten graph is not known."""
    return tuple(Kernel(name=kernel["name"], op=kernel["op"]) for kernel in reply["kernels"])
