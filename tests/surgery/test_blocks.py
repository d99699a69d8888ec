"""Every block that is offered can go, alone or with others, and what is left computes what an oracle says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.graph import Graph, Node, graph_from_onnx, prune_unused
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.surgery.oracle import compare_graphs, random_inputs, run_graph
from deploycompress.surgery.remove import remove_blocks
from tests.build import start
from tests.layers import graphs
from tests.surgery.networks import IMAGE, NETWORKS, block_parameters, head
from tools.block_oracles import ORACLES, with_last_weights_zeroed


def named(graph: Graph) -> dict[str, Block]:
    return {block.name: block for block in blocks(graph)}


def difference(graph: Graph, reference: Graph) -> float:
    return compare_graphs(graph, reference, random_inputs(reference, seed=3)).relative


OFFERED = [(net, block.name) for net, make in NETWORKS.items() for block in blocks(make())]


@pytest.mark.parametrize(("net", "name"), OFFERED)
def test_offered_block_goes_alone_with_exact_shapes(net: str, name: str) -> None:
    graph = NETWORKS[net]()
    left = remove_blocks(graph, [name])
    assert graph_from_onnx(left.to_onnx()).shapes == dict(left.shapes)
    inputs = random_inputs(graph, seed=0)
    assert [o.shape for o in run_graph(left, inputs)] == [o.shape for o in run_graph(graph, inputs)]
    assert {node.name for node in graph.nodes} - {node.name for node in left.nodes} >= set(named(graph)[name].nodes)
    assert sum(array.size for array in left.weights.values()) <= sum(
        array.size for array in graph.weights.values()
    ) - block_parameters(graph, named(graph)[name])


@pytest.mark.parametrize(
    ("net", "name"),
    [(net, name) for net, name in OFFERED if named(NETWORKS[net]())[name].kind in ORACLES],
)
def test_graph_without_block_equals_its_oracle(net: str, name: str) -> None:
    graph = NETWORKS[net]()
    block = named(graph)[name]
    reference = ORACLES[block.kind](graph, block)
    left = remove_blocks(graph, [name])
    assert difference(left, reference) <= 1e-4
    assert difference(left, graph) > 1e-3


@pytest.mark.parametrize(("net", "name"), [(net, name) for net, name in OFFERED if net in ("activations", "norms")])
def test_elementary_step_leaves_its_input(net: str, name: str) -> None:
    graph = NETWORKS[net]()
    block = named(graph)[name]
    last = next(node for node in graph.nodes if block.output in node.outputs)
    passes = Node(name="passes", op="Identity", inputs=(block.instead,), outputs=last.outputs)
    nodes = tuple(passes if node is last else node for node in graph.nodes)
    assert difference(remove_blocks(graph, [name]), prune_unused(replace(graph, nodes=nodes))) <= 1e-6


def kinds(net: str) -> dict[str, str]:
    return {name: block.kind for name, block in named(NETWORKS[net]()).items()}


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("identity_skips", {"conv3/residual": "residual", "conv10/residual": "residual", "conv3/layer": "layer"}),
        ("projected_skip", {"conv2/residual": "residual", "conv4/layer": "layer"}),
        ("padded_skip", {"conv1/residual": "residual"}),
        ("pooled_skip", {"conv2/residual": "residual"}),
        ("scaled_branch", {"conv1/residual": "residual"}),
        ("several_steps", {f"conv{number}/residual": "residual" for number in (2, 5, 7, 9)}),
        ("sum_of_three", {"conv2/residual": "residual", "conv4/residual": "residual"}),
        ("squeeze_excite", {"conv3/gate": "gate", "conv0/HardSwish": "activation"}),
        ("spatial_gate", {"conv2/gate": "gate"}),
        ("inception", {f"conv{number}/branch": "branch" for number in (3, 4, 8, 9)} | {"conv0/MaxPool": "pool"}),
        ("densely_connected", {f"norm{number}/branch": "branch" for number in (2, 9, 16)}),
        ("plain_layers", {f"{n}/layer": "layer" for n in ("conv3", "conv6", "conv8", "linear14", "turned")}),
        ("activations", {"conv0/Sigmoid": "activation", "slope/activation": "activation", "conv7/Clip": "activation"}),
        ("norms", {"instance1/norm": "norm", "layer/norm": "norm", "norm3/LRN": "norm", "spelled13/norm": "norm"}),
        (
            "transformer",
            {f"{part}{n}.norm/residual": "residual" for part in ("attention", "mlp") for n in (0, 1)}
            | {"mlp0.up/Erf": "activation", "mlp1.up/Tanh": "activation", "attention0.query/layer": "layer"},
        ),
    ],
)
def test_every_pattern_is_offered_by_the_name_of_its_first_weight(net: str, expected: dict[str, str]) -> None:
    assert expected.items() <= kinds(net).items()


def test_names_survive_other_node_names() -> None:
    graph = NETWORKS["transformer"]()
    again = replace(graph, nodes=tuple(replace(node, name=f"n{i}") for i, node in enumerate(graph.nodes)))
    assert list(named(again)) == list(named(graph))


def test_spelled_out_activation_is_one_block() -> None:
    found = named(NETWORKS["activations"]())
    assert [len(found[name].nodes) for name in ("conv0/Sigmoid", "conv7/Clip")] == [2, 4]
    assert len(named(NETWORKS["transformer"]())["mlp0.up/Erf"].nodes) == 5


def test_channels_that_something_else_needs_are_no_branch() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 4))
    graph = head(net, net.op("Concat", x, net.conv(x, 4), axis=1, width=8))
    assert [block.output for block in blocks(graph) if block.kind == "branch"] == [graph.nodes[2].outputs[0]]


def test_block_that_cuts_an_input_off_is_not_offered() -> None:
    graph = NETWORKS["two_ends"]()
    offered = named(graph)
    assert [block.kind for block in offered.values()].count("residual") == 1
    inputs = random_inputs(graph, seed=2)
    others = {**inputs, "y": 2 * inputs["y"]}
    for name in offered:
        left = remove_blocks(graph, [name])
        pairs = zip(run_graph(left, inputs), run_graph(left, others), strict=True)
        assert all(not np.allclose(before, after) for before, after in pairs)


def test_last_weights_are_not_offered() -> None:
    net = start(channels=3)
    graph = net.finish(net.op("Relu", net.norm(net.conv("x", 3))), input_shape=IMAGE)
    assert {block.kind for block in blocks(graph)} == {"norm", "activation"}


def test_outputs_keep_their_names() -> None:
    graph = NETWORKS["two_ends"]()
    activation = next(block for block in blocks(graph) if block.output == graph.outputs[1].name)
    left = remove_blocks(graph, [activation.name])
    assert left.outputs == graph.outputs
    first, second = run_graph(left, random_inputs(graph, seed=1))
    assert np.array_equal(first, second)
    assert np.array_equal(first, run_graph(graph, random_inputs(graph, seed=1))[0])


def test_what_a_subgraph_reads_stays() -> None:
    graph = NETWORKS["control_flow"]()
    read = {name for node in graph.nodes for name in node.captured}
    offered = blocks(graph)
    assert offered
    assert not [block for block in offered if block.output in read or "If_5" in block.nodes]
    everything = remove_blocks(graph, [block.name for block in offered if block.kind == "residual"])
    assert difference(everything, with_last_weights_zeroed(graph, named(graph)["conv3/residual"])) <= 1e-4


def test_sizes_that_are_not_known_are_not_offered() -> None:
    graph = NETWORKS["identity_skips"]()
    assert not blocks(replace(graph, shapes={name: (-1, *shape[1:]) for name, shape in graph.shapes.items()}))
    assert not blocks(replace(graph, shapes={}))


def test_nested_blocks_go_with_the_outer_one() -> None:
    graph = NETWORKS["identity_skips"]()
    inside = [name for name, b in named(graph).items() if set(b.nodes) < set(named(graph)["conv3/residual"].nodes)]
    assert len(inside) > 3
    assert (
        remove_blocks(graph, [*inside, "conv3/residual"]).to_bytes()
        == remove_blocks(graph, ["conv3/residual"]).to_bytes()
    )


def test_all_residuals_go_together() -> None:
    graph = NETWORKS["transformer"]()
    names = [block.name for block in blocks(graph) if block.kind == "residual"]
    reference = graph
    for name in names:
        reference = with_last_weights_zeroed(reference, named(graph)[name])
    assert difference(remove_blocks(graph, names), reference) <= 1e-4


def test_inner_branches_together_are_the_outer_branch() -> None:
    graph = NETWORKS["inception"]()
    apart = remove_blocks(graph, ["conv8/branch#2", "conv9/branch"])
    assert apart.to_bytes() == remove_blocks(graph, ["conv8/branch"]).to_bytes()


def test_concatenation_of_one_is_gone() -> None:
    left = remove_blocks(NETWORKS["inception"](), ["conv4/branch", "conv3/branch", "conv9/branch"])
    assert not [node for node in left.nodes if node.op == "Concat"]


def test_removing_nothing_changes_nothing() -> None:
    graph = NETWORKS["inception"]()
    assert remove_blocks(graph, []) is graph


def test_unknown_block_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PlanError, match=r"'conv3/residuals'.*nearest is 'conv3/residual'"):
        remove_blocks(NETWORKS["identity_skips"](), ["conv3/residuals"])


def test_blocks_that_empty_a_concatenation_together_are_named() -> None:
    with pytest.raises(PlanError, match="'conv4/branch', 'conv8/branch', 'conv3/branch' cannot be removed together"):
        remove_blocks(NETWORKS["inception"](), ["conv0/Relu", "conv4/branch", "conv8/branch", "conv3/branch"])


def test_blocks_that_leave_no_weights_together_are_named() -> None:
    net = start(channels=3)
    graph = net.finish(net.op("Relu", net.conv(net.norm(net.conv("x", 3)), 3)), input_shape=IMAGE)
    assert {"conv0/layer", "conv2/layer"} <= set(named(graph))
    with pytest.raises(PlanError, match="'conv0/layer', 'conv2/layer'"):
        remove_blocks(graph, ["conv0/layer", "conv2/layer"])


def test_operands_of_a_sum_go_one_by_one() -> None:
    graph = NETWORKS["sum_of_three"]()
    names = [block.name for block in blocks(graph) if block.kind == "residual"]
    reference: Graph = graph
    for name in names:
        reference = with_last_weights_zeroed(reference, named(graph)[name])
    assert difference(remove_blocks(graph, names), reference) <= 1e-4


def weighted_subset(offered: Mapping[str, Block], seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [name for name in offered if rng.random() < 0.4]


@settings(max_examples=80, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_any_blocks_of_a_generated_graph_go_or_are_refused(graph: Graph, seed: int) -> None:
    offered = named(graph)
    names = weighted_subset(offered, seed)
    try:
        left = remove_blocks(graph, names, offered=tuple(offered.values()))
    except PlanError:
        assert len(names) > 1
        return
    assert graph_from_onnx(left.to_onnx()).shapes == dict(left.shapes)
    inputs = random_inputs(graph, seed=1)
    assert [o.shape for o in run_graph(left, inputs)] == [o.shape for o in run_graph(graph, inputs)]


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_each_block_of_a_generated_graph_goes_alone(graph: Graph) -> None:
    offered = blocks(graph)
    for block in offered:
        left = remove_blocks(graph, [block.name], offered=offered)
        assert graph_from_onnx(left.to_onnx()).shapes == dict(left.shapes)
        assert np.isfinite(run_graph(left, random_inputs(graph, seed=1))[0]).all()
        if block.kind == "residual":
            assert difference(left, with_last_weights_zeroed(graph, block)) <= 1e-4
