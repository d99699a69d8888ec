"""A digest of what latency depends on: sizes and wiring, not values nor names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.surgery.slim import slim
from tests.build import start
from tests.surgery.networks import head


def network(*, width: int = 6, kernel: int = 3, stride: int = 1, activation: str = "Relu", seed: int = 1) -> Graph:
    net = start(seed)
    x = net.op(activation, net.conv("x", 6))
    return head(
        net, net.op("Add", net.conv(net.conv(x, width), 6, kernel=kernel, stride=stride), net.conv(x, 6, stride=stride))
    )


def test_other_weights_have_the_same_structure() -> None:
    assert structure_digest(network(seed=1)) == structure_digest(network(seed=2))


def test_sizes_operators_and_attributes_tell_structures_apart() -> None:
    others = [
        network(),
        network(width=4),
        network(kernel=1),
        network(stride=2),
        network(activation="Sigmoid"),
    ]
    assert len({structure_digest(graph) for graph in others}) == len(others)


def test_which_channels_stay_does_not_matter_but_how_many() -> None:
    graph = network()
    names = {name: array for name, array in graph.weights.items() if array.ndim == 4}
    group = next(name for name, array in names.items() if array.shape[:2] == (6, 6)).removesuffix(".weight")
    some, others, fewer = (slim(graph, Plan(keep={group: kept})) for kept in ((0, 1, 2), (3, 4, 5), (0, 1)))
    assert not np.array_equal(some.weights[f"{group}.weight"], others.weights[f"{group}.weight"])
    assert structure_digest(some) == structure_digest(others) != structure_digest(fewer)


def test_names_do_not_matter() -> None:
    graph = network()
    renamed = {name: f"other.{name}" for node in graph.nodes for name in (*node.inputs, *node.outputs) if name != "x"}
    kept = {port.name for port in graph.outputs}
    renamed = {name: other for name, other in renamed.items() if name not in kept and name}
    twin = replace(
        graph,
        nodes=tuple(
            replace(
                node,
                name=f"other.{node.name}",
                inputs=tuple(renamed.get(name, name) for name in node.inputs),
                outputs=tuple(renamed.get(name, name) for name in node.outputs),
            )
            for node in graph.nodes
        ),
        weights={renamed.get(name, name): array for name, array in graph.weights.items()},
        shapes={renamed.get(name, name): shape for name, shape in graph.shapes.items()},
    )
    assert structure_digest(twin) == structure_digest(graph)


def test_wiring_matters() -> None:
    """Two graphs of the same operators in the same order, whose sum reads another tensor."""
    graphs = []
    for which in (0, 1):
        net = start(1)
        first = net.conv("x", 6)
        second = net.conv(first, 6)
        third = net.conv(second, 6)
        graphs.append(head(net, net.op("Add", third, (first, second)[which])))
    assert structure_digest(graphs[0]) != structure_digest(graphs[1])


def test_type_of_the_numbers_matters() -> None:
    graph = network()
    name = next(iter(graph.weights))
    half = replace(graph, weights={**graph.weights, name: graph.weights[name].astype(np.float16)})
    assert structure_digest(half) != structure_digest(graph)
