"""Whose time a kernel's is when the kernel belongs to a graph in a lower precision."""

from __future__ import annotations

import pytest

from deploycompress.calibration.owners import owner_of
from deploycompress.graph import Node
from deploycompress.measuring.node_times import KernelTime

NODES = {
    name: Node(name=name, op=op, inputs=("x",), outputs=("y",))
    for name, op in (("Conv_3", "Conv"), ("Conv_31", "Conv"), ("Gemm_4", "Gemm"), ("Pool_5_token_1", "MaxPool"))
}


@pytest.mark.parametrize(
    ("name", "op", "nodes", "owner"),
    [
        ("Conv_3_token_14", "QLinearConv", (), "Conv_3"),
        ("Conv_31_token_1", "QLinearConv", (), "Conv_31"),
        ("Gemm_4", "QGemm", ("w_DequantizeLinear", "Gemm_4"), "Gemm_4"),
        ("Pool_5_token_1", "MaxPool", ("Pool_5_token_1",), "Pool_5_token_1"),
        ("Conv_3_token_14", "Transpose", (), ""),
        ("Transpose_token_2", "Transpose", (), ""),
        ("x_QuantizeLinear", "QuantizeLinear", ("x_QuantizeLinear",), ""),
    ],
)
def test_a_kernel_belongs_to_the_node_that_it_runs(name: str, op: str, nodes: tuple[str, ...], owner: str) -> None:
    kernel = KernelTime(name=name, op=op, microseconds=(1,), nodes=nodes)
    assert owner_of(kernel, NODES) == owner
