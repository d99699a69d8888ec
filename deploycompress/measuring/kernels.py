"""Which nodes of a graph a kernel of ONNX Runtime's rewritten graph runs, where names and data flow leave no doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from deploycompress.graph import Graph, Node

BLOCKED_ENDINGS = ("_bn_nchwc", "_nchwc")
"""Endings of kernels in the blocked layout: before them stands the tensor they made when they were rewritten."""
REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
FLATTENS = ("gemm_input_reshape", "gemm_output_reshape")
"""Beginnings of the reshapes put around a product of more than two axes, so that it becomes one of two axes."""
NAMED_AFTER_LAST = ("/QuickGeluFusion/", "/GeluFusion/")
"""Endings of fused kernels that are named after the last of the nodes they run."""
PRODUCTS = frozenset({"Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
BLOCKED_DOMAIN = "com.microsoft.nchwc"
ARITHMETIC = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One node of the rewritten graph.

    Attributes:
        name: as the profiler calls it.
        op: operator, fused or not.
        inputs: tensor names.
        outputs: tensor names; empty where the rewritten graph is not known.
        domain: of the operator.
        activation: operator that a fused kernel applies last; empty for none.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    domain: str = ""
    activation: str = ""

    @property
    def adds(self) -> bool:
        """Whether a blocked convolution adds another tensor to its result."""
        return self.domain == BLOCKED_DOMAIN and self.op == "Conv" and len(self.inputs) > 3 and bool(self.inputs[3])

    @property
    def moves_layout(self) -> bool:
        """Whether it only brings a tensor into another kernel's layout or back; no node of the graph does that."""
        reorders = self.op in REORDERS and self.domain == BLOCKED_DOMAIN
        return reorders or (self.op == "Reshape" and self.name.startswith(FLATTENS))


def kernels_of(protos: Iterable[onnx.NodeProto]) -> tuple[Kernel, ...]:
    """Read the nodes of a rewritten graph.

    Raises:
        ValueError: a text of a node is no text, or a node has no output, or brings nothing into another layout.
    """
    kernels = _read(protos)
    for kernel in kernels:
        texts = (kernel.name, kernel.op, kernel.domain, *kernel.inputs, *kernel.outputs)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"node {kernel.name!r} has names that are no text")
        if not kernel.outputs or (kernel.moves_layout and not kernel.inputs):
            raise ValueError(f"node {kernel.name!r} lacks its input or output")
    return kernels


def _read(protos: Iterable[onnx.NodeProto]) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(
            name=proto.name,
            op=proto.op_type,
            inputs=tuple(proto.input),
            outputs=tuple(name for name in proto.output if name),
            domain=proto.domain,
            activation=next((a.s.decode() for a in proto.attribute if a.name == "activation"), ""),
        )
        for proto in protos
    )


def nodes_of_kernels(graph: Graph, kernels: tuple[Kernel, ...]) -> dict[str, tuple[str, ...]]:
    """Name the nodes that each kernel runs, the one with the arithmetic first.

    Args:
        graph: the graph as it was before ONNX Runtime rewrote it.
        kernels: the nodes of the rewritten graph, in order.

    Returns:
        Node names by kernel name; none for a kernel that cannot be told for sure.
    """
    matcher = _Matcher(graph, kernels)
    named = Counter(kernel.name for kernel in kernels)
    found = {kernel.name: matcher.nodes(kernel) if named[kernel.name] == 1 else () for kernel in kernels}
    claims = Counter(name for names in found.values() for name in names)
    return {name: () if any(claims[node] > 1 for node in names) else names for name, names in found.items()}


class _Matcher:
    """Knows which tensor of the graph each tensor of the rewritten graph holds."""

    def __init__(self, graph: Graph, kernels: tuple[Kernel, ...]) -> None:
        self.graph = graph
        self.named = {node.name: node for node in graph.nodes}
        self.producers = graph.producers()
        self.readers = graph.readers()
        self.given = {port.name for port in graph.inputs}
        self.origin: dict[str, str] = {}
        for kernel in kernels:
            if kernel.moves_layout and kernel.inputs and kernel.outputs and self.is_known(kernel.outputs[0]):
                self.origin[kernel.inputs[0]] = kernel.outputs[0]
        for kernel in kernels:
            self._follow(kernel)

    def is_known(self, tensor: str) -> bool:
        return tensor in self.producers or tensor in self.given

    def tensor(self, name: str) -> str:
        """Give the original tensor that a tensor of the rewritten graph holds, empty when it is not certain."""
        return name if self.is_known(name) else self.origin.get(name, "")

    def nodes(self, kernel: Kernel) -> tuple[str, ...]:
        if kernel.moves_layout:
            return ()
        ends = [self.tensor(name) for name in kernel.outputs]
        if ends and all(ends):
            covered = self._between({name for name in map(self.tensor, kernel.inputs) if name}, ends)
            if covered:
                return _arithmetic_first(covered)
        same = self._namesake(kernel)
        return (same.name,) if same is not None else ()

    def _namesake(self, kernel: Kernel) -> Node | None:
        """Find the node of the kernel's name, which a product keeps in front when something is fused with it."""
        node = self.named.get(kernel.name) or self.named.get(kernel.name.rstrip("/").rpartition("/")[0])
        if node is None or node.op == kernel.op or {node.op, kernel.op} <= PRODUCTS:
            return node
        return None

    def _follow(self, kernel: Kernel) -> None:
        if not kernel.outputs or self.tensor(kernel.outputs[0]):
            return
        source = self.tensor(kernel.inputs[0]) if kernel.moves_layout else self._end_of_blocked(kernel)
        if source:
            self.origin[kernel.outputs[0]] = source

    def _end_of_blocked(self, kernel: Kernel) -> str:
        ending = next((ending for ending in BLOCKED_ENDINGS if kernel.name.endswith(ending)), "")
        tensor = kernel.name.removesuffix(ending)
        if not ending or tensor not in self.producers:
            tensor = self._end_by_name(kernel)
        for op in ("Add" if kernel.adds else "", kernel.activation):
            if tensor and op and self.producers[tensor].op != op:
                tensor = self._only_reading(tensor, op)
        return tensor

    def _end_by_name(self, kernel: Kernel) -> str:
        ending = next((ending for ending in NAMED_AFTER_LAST if kernel.name.endswith(ending)), "")
        node = self.named.get(kernel.name.removesuffix(ending))
        return node.outputs[0] if node is not None and (ending or node.op == kernel.op) else ""

    def _only_reading(self, tensor: str, op: str) -> str:
        readers = self.readers.get(tensor, [])
        return readers[0][0].outputs[0] if len(readers) == 1 and readers[0][0].op == op else ""

    def _between(self, starts: set[str], ends: list[str]) -> tuple[Node, ...]:
        """Walk back from the ends to the starts; nothing when that leads to another tensor the kernel does not read."""
        covered: dict[str, Node] = {}
        todo = list(ends)
        while todo:
            tensor = todo.pop()
            node = self.producers.get(tensor)
            if tensor in self.given or node is None:
                return ()
            if node.name not in covered:
                covered[node.name] = node
                todo += [name for name in node.reads if name not in self.graph.weights and name not in starts]
        return tuple(covered.values())


def _arithmetic_first(covered: tuple[Node, ...]) -> tuple[str, ...]:
    """Put the one node that does arithmetic first; with several of them, the time of neither is known."""
    heavy = [node.name for node in covered if node.op in ARITHMETIC]
    if len(heavy) > 1:
        return ()
    names = [node.name for node in covered]
    return (*heavy, *(name for name in names if name not in heavy))
