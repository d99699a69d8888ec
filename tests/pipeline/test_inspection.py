"""The record of `inspect`: sums, orders, and what is said where something is not known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from deploycompress.channels.trace import channel_groups
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.measuring.static import macs, params
from deploycompress.pipeline.inspection import inspect
from deploycompress.pipeline.subject import Loading, read_subject
from deploycompress.profile_files import load_profile
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net
from tests.measuring.networks import model_of
from tests.quantize.runs import in_int8
from tests.surgery.networks import block_parameters

Document = dict[str, Any]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return residual_net(width=16)


@pytest.fixture(scope="module")
def measured(graph: Graph) -> Document:
    return inspect(graph, profile=load_profile(Path(__file__).parents[2] / "profiles" / "x86.toml"))


def test_it_is_json_and_in_the_same_order_every_time(graph: Graph) -> None:
    first, second = (json.dumps(inspect(graph)) for _ in range(2))
    assert first == second
    assert json.loads(first)["schema"] == 1


def test_macs_and_parameters_sum_to_the_graphs(graph: Graph, measured: Document) -> None:
    assert sum(node["macs"] for node in measured["nodes"]) == macs(graph) == measured["macs"]
    assert measured["params"] == params(graph)
    assert sum(measured["operators"].values()) == len(graph.nodes)


def test_shares_and_other_sum_to_one(measured: Document) -> None:
    shares = sum(node["share"] for node in measured["nodes"] if node["share"] is not None)
    assert shares + measured["latency"]["other"] == pytest.approx(1)
    assert measured["evidence"]["share"] in ("measured", "proxy")
    assert measured["evidence"]["params"] == measured["evidence"]["macs"] == "analytic"


def test_a_node_has_a_share_or_says_where_it_is_fused(measured: Document) -> None:
    assert all((node["share"] is None) == (node["fused_into"] is not None) for node in measured["nodes"])


def test_groups_cost_what_a_plain_loop_over_their_members_says(graph: Graph, measured: Document) -> None:
    assert [row["name"] for row in measured["groups"]] == [group.name for group in channel_groups(graph)]
    by_node = {node["name"]: node for node in measured["nodes"]}
    for row, group in zip(measured["groups"], channel_groups(graph), strict=True):
        tensors = {tensor for tensor, _ in group.members}
        nodes = [node.name for node in graph.nodes if tensors & set(node.inputs)]
        trained = [name for name in tensors if not name.endswith((".mean", ".var"))]
        assert row["macs"] == sum(by_node[name]["macs"] for name in nodes)
        assert row["params"] == sum(graph.weights[name].size for name in trained)
        assert row["share"] == pytest.approx(sum(by_node[name]["share"] or 0 for name in nodes))
        assert row["frozen"] == bool(row["why"])


def test_a_block_costs_what_its_removal_saves(graph: Graph, measured: Document) -> None:
    found = blocks(graph)
    assert [row["name"] for row in measured["blocks"]] == [block.name for block in found]
    assert {"residual", "norm"} <= {row["kind"] for row in measured["blocks"]}
    for row, block in zip(measured["blocks"], found, strict=True):
        left = remove_blocks(graph, [block.name])
        assert row["params"] == params(graph) - params(left)
        assert row["macs"] == macs(graph) - macs(left)
        assert row["params"] <= block_parameters(graph, block)  # which counts statistics, too


def test_kernels_are_convolutions_with_their_own_macs(measured: Document) -> None:
    convolutions = [node["macs"] for node in measured["nodes"] if node["op"] == "Conv"]
    assert [row["macs"] for row in measured["kernels"]] == convolutions
    assert all(row["kernel"] == [3, 3] and row["sizes"] == [1] for row in measured["kernels"])


def test_unmeasured_shares_are_null_with_the_reason(graph: Graph) -> None:
    document = inspect(graph, why_not_measured="nobody asked")
    assert document["latency"] is None
    assert document["why_no_latency"] == "nobody asked"
    assert {row["share"] for row in (*document["groups"], *document["blocks"], *document["nodes"])} == {None}


def test_macs_that_depend_on_the_data_are_null_with_the_reason() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], name="relu"),
        helper.make_node("NonZero", ["positive"], ["found"], name="where"),
        helper.make_node("Cast", ["found"], ["numbers"], to=onnx.TensorProto.FLOAT, name="cast"),
        helper.make_node("MatMul", ["w", "numbers"], ["y"], name="product"),
    ]
    graph = graph_from_onnx(model_of(nodes, {"w": np.ones((3, 2), np.float32)}, ["N", 4], [3, "found"]))
    document = inspect(graph)
    assert document["macs"] is None
    assert "depends on the data" in document["why_no_macs"]
    assert {node["name"]: node["macs"] for node in document["nodes"]}["product"] is None


SHORTCUT = 8 * 16
"""Weights of the 1x1 convolution that a shortcut is in 8 bits, at four by four positions."""
ENTRY = 8 * 9
"""Zero weights that a fourth colour adds to the first convolution, at eight by eight positions."""


def test_a_quantised_model_has_its_parameters_and_no_parts() -> None:
    graph = shipped_form(residual_net())
    finished, trainable = in_int8(graph), in_int8(graph, trainable=True)
    for other, entry in ((finished, ENTRY), (trainable, 0)):
        document = inspect(other)

        expected = (params(graph) + SHORTCUT + entry, macs(graph) + 4 * 4 * SHORTCUT + 8 * 8 * entry)
        assert (document["params"], document["macs"]) == expected
        assert document["why_no_groups"].startswith("The model is quantised")
        assert document["groups"] == document["blocks"] == document["kernels"] == []
    assert inspect(graph)["why_no_groups"] == ""


def test_limits_on_parameters_hold_for_quantised_files(tmp_path: Path) -> None:
    graph = shipped_form(residual_net())
    in_int8(graph).save(tmp_path / "model.onnx")
    counts = read_subject(tmp_path / "model.onnx", load_profile("x86"), Loading()).counts()

    assert counts == {
        "params": params(graph) + SHORTCUT + ENTRY,
        "macs": macs(graph) + 4 * 4 * SHORTCUT + 8 * 8 * ENTRY,
    }
    assert counts["params"] > 1000
