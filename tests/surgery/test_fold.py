"""Folding batch norm keeps the function and removes the nodes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from deploycompress.graph import Graph, Port, graph_from_onnx
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.surgery.oracle import compare_graphs, random_inputs
from tests.build import residual_net, start
from tests.layers import graphs


def test_every_norm_after_a_convolution_goes() -> None:
    folded = fold_batch_norm(residual_net())
    assert not [node for node in folded.nodes if node.op == "BatchNormalization"]
    assert compare_graphs(folded, residual_net(), random_inputs(folded, seed=0)).relative <= 1e-5


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_folding_keeps_the_function(graph: Graph) -> None:
    assert compare_graphs(fold_batch_norm(graph), graph, random_inputs(graph, seed=1)).relative <= 1e-5


def test_norm_stays_when_the_convolution_is_read_twice() -> None:
    net = start()
    raw = net.conv("x", 4)
    x = net.op("Add", net.norm(raw), raw)
    graph = net.finish(net.conv(x, 2), input_shape=(3, 8, 8))
    folded = fold_batch_norm(graph)
    assert [node.op for node in folded.nodes] == [node.op for node in graph.nodes]


def test_norm_stays_when_the_convolutions_weight_is_an_output() -> None:
    net = start()
    graph = net.finish(net.conv(net.norm(net.conv("x", 4)), 2), input_shape=(3, 8, 8))
    port = Port(name="conv0.weight", dtype=graph.outputs[0].dtype, shape=(4, 3, 3, 3))
    graph = replace(graph, outputs=(*graph.outputs, port))
    assert len(fold_batch_norm(graph).nodes) == len(graph.nodes)


def test_shapes_of_a_folded_graph_are_those_of_its_tensors() -> None:
    folded = fold_batch_norm(residual_net())
    assert graph_from_onnx(folded.to_onnx()).shapes == dict(folded.shapes)
