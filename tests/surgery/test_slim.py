"""slim equals masked, the empty plan changes nothing, trained students go back in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.plan import Plan
from deploycompress.surgery.embed import embed
from deploycompress.surgery.masked import masked
from deploycompress.surgery.oracle import check_plan, compare_graphs, compare_outputs, random_inputs, run_graph
from deploycompress.surgery.slim import slim
from tests.build import random_plan, residual_net, start
from tests.layers import graphs


@settings(max_examples=80, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16), share=st.sampled_from([0.25, 0.5, 0.75]))
def test_slim_equals_masked_on_generated_graphs(graph: Graph, seed: int, share: float) -> None:
    channels = trace_channels(graph)
    assert check_plan(graph, random_plan(channels, seed, share), channels=channels).relative <= 1e-5


@settings(max_examples=30, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_slim_graph_has_the_shapes_that_inference_finds(graph: Graph, seed: int) -> None:
    student = slim(graph, random_plan(trace_channels(graph), seed))
    assert graph_from_onnx(student.to_onnx()).shapes == dict(student.shapes)


@settings(max_examples=30, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_plans_compose_through_embedding(graph: Graph, seed: int) -> None:
    channels = trace_channels(graph)
    wide = random_plan(channels, seed, 0.75)
    narrow = Plan(keep={name: indices[: max(1, len(indices) // 2)] for name, indices in wide.keep.items()})
    student = slim(graph, wide, channels=channels)
    trained = student.with_weights(
        {
            name: array * np.asarray(2, array.dtype)
            for name, array in student.weights.items()
            if array.dtype == np.float32
        }
    )
    whole = embed(graph, wide, trained, channels=channels)
    again = slim(whole, wide, channels=channels)
    assert all(np.array_equal(again.weights[name], trained.weights[name]) for name in trained.weights)
    twice = slim(whole, narrow, channels=channels)
    assert {name: twice.shape_of(name) for name in twice.weights} == {
        name: slim(graph, narrow).shape_of(name) for name in twice.weights
    }


def test_empty_plan_changes_nothing() -> None:
    graph = residual_net()
    assert slim(graph, Plan()) is graph


def test_masking_changes_the_output_so_the_oracle_can_fail() -> None:
    graph = residual_net()
    plan = random_plan(trace_channels(graph), 0)
    inputs = random_inputs(graph, seed=0)
    assert compare_graphs(masked(graph, plan), graph, inputs).relative > 1e-2


def test_oracle_catches_a_wrong_cut() -> None:
    graph = residual_net()
    channels = trace_channels(graph)
    plan = random_plan(channels, 0)
    other = Plan(
        keep={
            name: tuple(i for i in range(next(g.width for g in channels.groups if g.name == name)) if i not in kept)
            or (0,)
            for name, kept in plan.keep.items()
        }
    )
    difference = compare_graphs(slim(graph, plan), masked(graph, other), random_inputs(graph, seed=0))
    assert difference.relative > 1e-2


def test_flatten_cuts_every_position_of_a_channel() -> None:
    net = start(1)
    x = net.conv("x", 4)
    x = net.op("Flatten", x, axis=1, width=4 * 5 * 5)
    graph = net.finish(net.linear(x, 3), input_shape=(3, 5, 5))
    student = slim(graph, Plan(keep={"conv0": (1, 3)}))
    assert student.weights["linear2.weight"].shape == (3, 50)
    expected = graph.weights["linear2.weight"].reshape(3, 4, 25)[:, [1, 3]].reshape(3, 50)
    assert np.array_equal(student.weights["linear2.weight"], expected)


def test_slim_leaves_the_teacher_as_it_was() -> None:
    graph = residual_net()
    before = graph.digest()
    plan = random_plan(trace_channels(graph), 3)
    slim(graph, plan)
    masked(graph, plan)
    embed(graph, plan, slim(graph, plan))
    assert graph.digest() == before


def test_batch_stays_symbolic() -> None:
    graph = residual_net()
    student = slim(graph, random_plan(trace_channels(graph), 3))
    for batch in (1, 5):
        outputs = run_graph(student, random_inputs(graph, seed=1, batch=batch))
        assert outputs[0].shape == (batch, 5)


@pytest.mark.parametrize(
    ("keep", "culprit"),
    [
        ({"conv99": (0,)}, "conv99"),
        ({"conv0": (0, 70)}, "70"),
        ({"linear": (0,)}, "linear"),
    ],
)
def test_plan_for_another_model_is_refused_by_name(keep: dict[str, tuple[int, ...]], culprit: str) -> None:
    with pytest.raises(PlanError, match=culprit):
        slim(residual_net(), Plan(keep=keep))


def test_frozen_group_cannot_be_cut() -> None:
    graph = residual_net()
    frozen = [group for group in trace_channels(graph).groups if group.frozen]
    assert [group.why for group in frozen] == [f"output {graph.outputs[0].name} of the graph"]
    with pytest.raises(PlanError, match="must keep all"):
        slim(graph, Plan(keep={frozen[0].name: (0,)}))


def test_weight_used_both_ways_round_is_cut_and_masked_in_both() -> None:
    net = start(3)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv("x", 6)), axis=1)
    weight = net.normal("tied.weight", 4, 6)
    hidden = net.op("Relu", net.op("Gemm", x, weight, width=4, transB=1))
    graph = net.finish(net.linear(net.op("Gemm", hidden, weight, width=6), 3), input_shape=(3, 8, 8))
    channels = trace_channels(graph)
    assert sorted(group.width for group in channels.free_groups) == [4, 6]
    for seed in range(5):
        assert check_plan(graph, random_plan(channels, seed), channels=channels).relative <= 1e-5


def test_channels_that_stand_twice_are_another_group_than_those_that_stand_once() -> None:
    net = start(4)
    x = net.conv("x", 8)
    half = net.op("Slice", x, net.integers(0), net.integers(4), net.integers(1), width=4)
    joined = net.op("Concat", x, half, axis=1, width=12)
    graph = net.finish(net.conv(joined, 5), input_shape=(3, 8, 8))
    channels = trace_channels(graph)
    assert sorted(group.width for group in channels.free_groups) == [4, 4]
    for seed in range(5):
        assert check_plan(graph, random_plan(channels, seed), channels=channels).relative <= 1e-5


def test_single_channel_held_twice_is_frozen() -> None:
    net = start(5)
    doubled = net.depthwise(net.conv("x", 4), 2)
    pair = net.op("Slice", doubled, net.integers(0), net.integers(2), net.integers(1), width=2)
    flat = net.op("Flatten", pair, axis=1, width=2 * 8 * 8)
    graph = net.finish(net.linear(flat, 3), input_shape=(3, 8, 8))
    channels = trace_channels(graph)
    assert any("single channel" in group.why for group in channels.groups)
    assert check_plan(graph, random_plan(channels, 0), channels=channels).relative <= 1e-5


def test_each_output_is_held_against_itself() -> None:
    large, small = np.full(3, 1e6), np.ones(3)
    assert compare_outputs([large, np.zeros(3)], [large, small]).relative == 1.0
    assert compare_outputs([large, small], [large, small]).relative == 0.0
    assert compare_outputs([np.asarray([-np.inf, 1])], [np.asarray([-np.inf, 1])]).relative == 0.0
    assert compare_outputs([np.asarray([np.nan, 1])], [np.asarray([np.nan, 1])]).relative == float("inf")


def test_embedding_a_student_of_another_plan_is_refused_by_name() -> None:
    graph = residual_net()
    plan, other = random_plan(trace_channels(graph), 0), random_plan(trace_channels(graph), 0, 0.25)
    with pytest.raises(PlanError, match=r"conv0\.weight"):
        embed(graph, plan, slim(graph, other))
    with pytest.raises(PlanError, match="Only channels"):
        embed(graph, Plan(kernels={"conv0": 1}), graph)
