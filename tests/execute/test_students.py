"""Plans and graphs of candidates: names follow the blocks that go, the teacher's best channels stay, masks agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.execute.students import Scores, Students
from deploycompress.graph import Graph
from deploycompress.pipeline.space import build_space
from deploycompress.plan import Plan
from deploycompress.profile import Channels as Quanta
from deploycompress.search.space import Candidate, Space
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.oracle import check_plan, compare_graphs, random_inputs
from deploycompress.surgery.slim import slim
from tests.build import start
from tests.surgery.networks import head
from tools.cifar_resnet import resnet20

FIRST, SECOND = "layer2.0.conv1/residual", "layer2.1.conv1/residual"


def students_of(graph: Graph) -> Students:
    channels = trace_channels(graph)
    return Students(graph, channels, blocks(graph, channels=channels))


def space_of(graph: Graph) -> Space:
    channels = trace_channels(graph)
    return build_space(graph, channels, blocks(graph, channels=channels), quanta=Quanta(quantum=4), has_kernels=True)


def scores_of(graph: Graph, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    return {group.name: tuple(rng.random(group.width)) for group in trace_channels(graph).groups}


def top(scores: tuple[float, ...], count: int) -> tuple[int, ...]:
    return tuple(sorted(np.argsort(scores)[-count:].tolist()))


@pytest.fixture(scope="module")
def teacher() -> Graph:
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
        return capture(resnet20().eval(), input_shape=(1, 3, 32, 32))


@pytest.fixture(scope="module")
def space(teacher: Graph) -> Space:
    return space_of(teacher)


@pytest.fixture(scope="module")
def students(teacher: Graph) -> Students:
    return students_of(teacher)


def test_widths_alone_keep_the_best_of_each_group(teacher: Graph, students: Students) -> None:
    scores = scores_of(teacher)
    plan = students.plan(Candidate(widths={"conv1": 8, "layer3.0.conv1": 24}), scores)
    assert plan.keep == {"conv1": top(scores["conv1"], 8), "layer3.0.conv1": top(scores["layer3.0.conv1"], 24)}
    assert plan.remove == ()


def test_a_group_whose_first_layer_goes_is_cut_under_its_new_name(teacher: Graph, students: Students) -> None:
    scores = scores_of(teacher)
    for removed, name in (((FIRST,), "layer2.1.conv2"), ((FIRST, SECOND), "layer2.2.conv2")):
        candidate = Candidate(remove=removed, widths={"layer2.0.conv2": 8, "layer2.2.conv1": 12})
        plan = students.plan(candidate, scores)
        assert plan.remove == removed
        assert plan.keep == {
            name: top(scores["layer2.0.conv2"], 8),
            "layer2.2.conv1": top(scores["layer2.2.conv1"], 12),
        }
        slim_graph = students.slim(teacher, plan)
        assert slim_graph.weights["layer2.2.conv2.weight"].shape == (24, 12, 3, 3)
        assert check_plan(teacher, plan).relative < 1e-4


def test_a_group_that_goes_with_its_block_is_not_named(teacher: Graph, students: Students) -> None:
    plan = students.plan(Candidate(remove=(FIRST,), widths={"layer2.0.conv1": 8}), scores_of(teacher))
    assert plan.keep == {}


def test_nothing_to_decide_gives_an_empty_plan_and_the_teacher(teacher: Graph, students: Students) -> None:
    plan = students.plan(Candidate(), scores_of(teacher))
    assert plan == Plan()
    assert students.slim(teacher, plan) is teacher


def test_other_weights_are_cut_like_the_teachers(teacher: Graph, students: Students) -> None:
    other = teacher.with_weights({"linear.weight": 2 * teacher.weights["linear.weight"]})
    plan = students.plan(Candidate(remove=(FIRST,), widths={"layer3.0.conv2": 16}), scores_of(teacher))
    cut, expected = students.slim(other, plan), students.slim(teacher, plan)
    np.testing.assert_array_equal(cut.weights["linear.weight"], 2 * expected.weights["linear.weight"])
    np.testing.assert_array_equal(cut.weights["conv1.weight"], expected.weights["conv1.weight"])


def test_blocks_that_are_not_there_and_channels_that_are_gone_are_refused(teacher: Graph, students: Students) -> None:
    scores = dict(scores_of(teacher))
    with pytest.raises(PlanError, match="nothing"):
        students.plan(Candidate(remove=("nothing",)), scores)
    scores["conv1"] = (*scores["conv1"][:8], *[-np.inf] * 8)
    assert students.plan(Candidate(widths={"conv1": 8}), scores).keep["conv1"] == tuple(range(8))
    with pytest.raises(PlanError, match="plans can only shrink"):
        students.plan(Candidate(widths={"conv1": 12}), scores)


@st.composite
def candidates(draw: st.DrawFn, space: Space) -> Candidate:
    """Draw any candidate of a space, mostly with several parts."""
    remove = draw(st.sets(st.sampled_from([one.block for one in space.removals]), max_size=4))
    groups = draw(st.sets(st.sampled_from(space.free), max_size=6))
    kernels = draw(st.sets(st.sampled_from(space.kernels), max_size=2)) if space.kernels else ()
    return space.candidate(
        remove=sorted(remove),
        widths={one.group: draw(st.sampled_from(one.widths)) for one in sorted(groups, key=lambda one: one.group)},
        kernels={one.layer: draw(st.sampled_from(one.sizes)) for one in sorted(kernels, key=lambda one: one.layer)},
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_slim_equals_masked_and_every_width_is_as_asked_for(
    teacher: Graph, space: Space, students: Students, data: st.DataObject
) -> None:
    scores, candidate = scores_of(teacher), data.draw(candidates(space))
    plan = students.plan(candidate, scores)
    assert sorted(len(kept) for kept in plan.keep.values()) == sorted(candidate.widths.values())
    assert check_plan(teacher, plan).relative < 1e-4
    inputs = random_inputs(teacher, seed=1)
    assert compare_graphs(students.slim(teacher, plan), slim(teacher, plan), inputs).max_abs == 0
    for name, kept in plan.keep.items():
        assert kept in [top(scores[group], width) for group, width in candidate.widths.items()], name


def plain() -> Graph:
    """Four convolutions in a row, all alike, as in VGG: a middle one goes and its two sides become one group."""
    net = start(1)
    x = "x"
    for _ in range(4):
        x = net.op("Relu", net.norm(net.conv(x, 8)))
    return head(net, x)


def test_merged_channels_are_worth_what_they_were_together() -> None:
    graph = plain()
    students, space = students_of(graph), space_of(graph)
    first, second, *_ = (dimension.group for dimension in space.free)
    middle = next(one.block for one in space.removals if one.layers == (1,))
    scores = {**scores_of(graph), first: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)}
    scores[second] = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    candidate = space.candidate(remove=[middle], widths={first: 4, second: 4})
    assert candidate.widths == {first: 4}, "the second group goes with its layer"
    plan = students.plan(candidate, scores)
    assert plan.keep == {first: (0, 5, 6, 7)}
    assert check_plan(graph, plan).relative < 1e-4


def test_a_group_that_went_leaves_the_width_to_those_that_stay() -> None:
    graph = plain()
    students, space = students_of(graph), space_of(graph)
    names = [dimension.group for dimension in space.free]
    by_layer = {one.layers: one.block for one in space.removals}
    plan = students.plan(space.candidate(remove=[by_layer[1,], by_layer[2,]], widths={names[0]: 4}), scores_of(graph))
    assert {name: len(kept) for name, kept in plan.keep.items()} == {names[0]: 4}
    last = students.plan(space.candidate(remove=[by_layer[1,]], widths={names[2]: 4}), scores_of(graph))
    assert {name: len(kept) for name, kept in last.keep.items()} == {names[2]: 4}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_slim_equals_masked_where_groups_merge(data: st.DataObject) -> None:
    graph = plain()
    plan = students_of(graph).plan(data.draw(candidates(space_of(graph))), scores_of(graph))
    assert check_plan(graph, plan).relative < 1e-4


def test_a_shrunk_kernel_of_a_narrowed_layer_agrees_with_its_mask(teacher: Graph, students: Students) -> None:
    candidate = Candidate(widths={"layer1.0.conv1": 8}, kernels={"layer1.0.conv1": 1, "layer1.0.conv2": 1})
    plan = students.plan(candidate, scores_of(teacher))
    assert students.slim(teacher, plan).weights["layer1.0.conv1.weight"].shape == (8, 16, 1, 1)
    assert check_plan(teacher, plan).relative < 1e-4


def test_without_blocks_every_channel_is_the_teachers_own(teacher: Graph, students: Students) -> None:
    pairs = students.teachers_of(Plan())
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
    assert len(pairs) == trace_channels(teacher).count + 1
