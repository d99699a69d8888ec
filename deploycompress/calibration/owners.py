"""Which node of a student a kernel's time belongs to, when what was measured is the student in a lower precision."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploycompress.graph import Node
from deploycompress.measuring.node_times import KernelTime

_MOVED = re.compile(r"_token_\d+$")
"""Ending of the kernels that ONNX Runtime moved into the layout with channels last."""


def owner_of(kernel: KernelTime, nodes: Mapping[str, Node]) -> str:
    """Name the node of a student that a kernel runs.

    A node keeps its name in every precision; the conversions around it have names of their own.

    Args:
        kernel: of the student in the precision that was measured.
        nodes: the student's nodes by name, as they are in single precision.

    Returns:
        Empty when no node is sure to be it.
    """
    known = next((name for name in kernel.nodes if name in nodes), "")
    if known:
        return known
    node = nodes.get(_MOVED.sub("", kernel.name))
    # 8-bit kernels are called after the operator, such as QLinearConv and QGemm.
    return node.name if node is not None and kernel.op.removeprefix("QLinear").removeprefix("Q") == node.op else ""
