"""Whole plans, with blocks, kernels and channels: slim equals masked, plans compose, and travel to another export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.compose import compose
from deploycompress.surgery.kernels import kernel_choices
from deploycompress.surgery.oracle import check_plan, compare_graphs, random_inputs
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.slim import slim
from tests.build import random_plan, residual_net, start
from tests.layers import graphs

SEEDS = st.integers(0, 2**16)


def whole_plan(graph: Graph, seed: int) -> Plan:
    """Remove up to three random blocks, shrink a third of the kernels, cut up to three quarters of the channels."""
    rng = np.random.default_rng(seed)
    offered = [block.name for block in blocks(graph)]
    wanted = list(rng.permutation(offered)[: rng.integers(0, 4)]) if offered else []
    left: Graph = graph
    remove: tuple[str, ...] = ()
    while wanted:
        try:
            left, remove = remove_blocks(graph, wanted), tuple(map(str, wanted))
            break
        except PlanError:
            wanted.pop()
    kernels = {c.layer: int(rng.choice(c.sizes)) for c in kernel_choices(left) if rng.random() < 0.34}
    keep = random_plan(trace_channels(left), seed, float(rng.uniform(0.25, 0.95))).keep
    return Plan(remove=remove, keep=keep, kernels=kernels)


def assert_slim_equals_masked(graph: Graph, seed: int) -> None:
    plan = whole_plan(graph, seed)
    assert Plan.from_json(plan.to_json()) == plan
    assert check_plan(graph, plan, seed=seed).relative <= 1e-5
    student = slim(graph, plan)
    assert graph_from_onnx(student.to_onnx()).shapes == dict(student.shapes)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=SEEDS)
def test_slim_equals_masked_for_whole_plans(graph: Graph, seed: int) -> None:
    assert_slim_equals_masked(graph, seed)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs(), seed=SEEDS)
def test_two_thousand_whole_plans(graph: Graph, seed: int) -> None:
    assert_slim_equals_masked(graph, seed)


def test_a_second_plan_may_name_one_activation_twice() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    graph = capture(net.eval(), input_shape=(1, 1, 4, 4))
    both = Plan(remove=("1/Relu", "1/merge"))
    joined = compose(graph, Plan(keep={"1": (0, 2, 3)}), both)
    expected = slim(slim(graph, Plan(keep={"1": (0, 2, 3)})), both)
    assert compare_graphs(slim(graph, joined), expected, random_inputs(graph, seed=0)).relative <= 1e-6


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), seed=SEEDS)
def test_plans_compose(graph: Graph, seed: int) -> None:
    first = whole_plan(graph, seed)
    between = slim(graph, first)
    second = whole_plan(between, seed + 1)
    try:
        joined = compose(graph, first, second)
    except PlanError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        reasons = ("is not the same any more", "only since the first plan", "the first graph does not have")
        assert any(reason in refusal for reason in reasons)
        return
    expected, found = slim(between, second), slim(graph, joined)
    assert {n: found.shape_of(n) for n in found.weights} == {n: expected.shape_of(n) for n in expected.weights}
    assert compare_graphs(found, expected, random_inputs(graph, seed=seed)).relative <= 1e-6


def test_composing_refuses_what_one_plan_cannot_say() -> None:
    graph = residual_net()
    first = random_plan(trace_channels(graph), 0)
    with pytest.raises(PlanError, match="no_such_group"):
        compose(graph, first, Plan(keep={"no_such_group": (0,)}))
    group = next(iter(first.keep))
    with pytest.raises(PlanError, match="99"):
        compose(graph, first, Plan(keep={group: (99,)}))


def test_a_plan_fits_another_export_of_the_same_teacher() -> None:
    import torch
    import torchvision

    from deploycompress.capturing.capture import capture

    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None).eval()
    graph = capture(module, input_shape=(1, 3, 64, 64))
    plan = whole_plan(graph, 3)
    assert plan.remove
    assert plan.keep
    assert plan.kernels
    again = capture(module, input_shape=(1, 3, 96, 96), max_opset=14)
    inputs = random_inputs(again, seed=0)
    graph = capture(module, input_shape=(1, 3, 96, 96))
    assert compare_graphs(slim(again, plan), slim(graph, plan), inputs).relative <= 1e-5


def test_composing_follows_blocks_whose_names_shift() -> None:
    net = start(0)
    x = net.op("MaxPool", net.op("Relu", net.conv("x", 4)), kernel_shape=[3, 3], pads=[1] * 4)
    x = net.op("Relu", net.op("Sub", x, net.weight("half", np.asarray(0.5, np.float32))))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 5)), axis=1)
    graph = net.finish(net.linear(pooled, 3), input_shape=(3, 8, 8))
    first, second = Plan(remove=("conv0/Relu",)), Plan(remove=("conv0/Relu",))
    joined = compose(graph, first, second)
    assert joined.remove == ("conv0/Relu", "conv0/Relu#2")
    expected = slim(slim(graph, first), second)
    assert compare_graphs(slim(graph, joined), expected, random_inputs(graph, seed=0)).relative == 0.0


@pytest.mark.parametrize("removed", [(), ("norm1/Relu",)])
def test_a_precision_survives_composition(removed: tuple[str, ...]) -> None:
    graph = residual_net()
    names = [block.name for block in blocks(graph)]
    second = Plan(remove=tuple(names[:1]) if removed else ())
    left = slim(graph, second)
    layer = next(node.inputs[1] for node in left.nodes if node.op == "Conv").removesuffix(".weight")
    first = Plan(precision=Precision.INT8, higher=(layer, "gone with its block"))
    found = compose(graph, first, second)
    assert (found.precision, found.higher) == (Precision.INT8, (layer,))
    half = compose(graph, first, Plan(remove=second.remove, precision=Precision.FP16))
    assert (half.precision, half.higher) == (Precision.FP16, ())
