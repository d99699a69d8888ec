"""What there is to decide, against facts of ResNet-20 written down by hand, and the table of what it saves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.evaluation import Evaluation
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.measuring.static import macs, params
from deploycompress.pipeline.space import build_space, measurements_needed, with_savings
from deploycompress.profile import Channels as Quanta
from deploycompress.search.costs import forecast
from deploycompress.search.space import Candidate, Space
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from tests.build import start
from tests.surgery.networks import densely_connected, head, plain_layers
from tests.surgery.test_merges import inverted_residual
from tools.cifar_resnet import resnet20

STAGES = ((16, 1), (32, 2), (64, 2))


def space_of(graph: Graph, *, quantum: int = 8, has_kernels: bool = False) -> Space:
    channels = trace_channels(graph)
    return build_space(
        graph, channels, blocks(graph, channels=channels), quanta=Quanta(quantum=quantum), has_kernels=has_kernels
    )


class Scales:
    """Weighs students: multiply-accumulates and parameters, no time."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._channels = graph, trace_channels(graph)
        self._students = Students(graph, self._channels, blocks(graph, channels=self._channels))
        self._scores = {group.name: (1.0,) * group.width for group in self._channels.groups}
        self.count = 0

    def __call__(self, candidate: Candidate) -> Evaluation:
        self.count += 1
        student = shipped_form(self._students.slim(self._graph, self._students.plan(candidate, self._scores)))
        whole = shipped_form(self._graph)
        metrics = {"macs_ratio": macs(student) / macs(whole), "params_ratio": params(student) / params(whole)}
        return Evaluation(metrics=metrics, teacher_accuracy=0.9)


@pytest.fixture(scope="module")
def teacher() -> Graph:
    with torch.random.fork_rng(devices=[]):
        return capture(resnet20().eval(), input_shape=(1, 3, 32, 32))


@pytest.fixture(scope="module")
def space(teacher: Graph) -> Space:
    return space_of(teacher)


@pytest.fixture(scope="module")
def priced(teacher: Graph, space: Space) -> Space:
    return with_savings(space, Scales(teacher))


def facts() -> Iterator[tuple[object, ...]]:
    """List name, kind, kernel, stride, padding, outputs and place in the skip connection (He et al., section 4.2)."""
    yield "conv1", "conv", 3, 1, 1, 16, 0, 0
    for stage, (width, stride) in enumerate(STAGES, 1):
        for block in range(3):
            yield f"layer{stage}.{block}.conv1", "conv", 3, stride if block == 0 else 1, 1, width, 1, 2
            yield f"layer{stage}.{block}.conv2", "conv", 3, 1, 1, width, 2, 1
    yield "linear", "linear", 1, 1, 0, 10, 0, 0


def test_layers_are_those_of_the_paper(space: Space) -> None:
    found = [
        (one.name, one.kind, one.kernel, one.stride, one.padding, one.outputs, one.skip_start, one.skip_end)
        for one in space.layers
    ]
    assert found == list(facts())


def test_blocks_are_the_residual_branches_and_nothing_inside_them(space: Space) -> None:
    assert [one.block for one in space.removals] == [
        f"layer{stage}.{block}.conv1/residual" for stage in (1, 2, 3) for block in range(3)
    ]
    assert [one.layers for one in space.removals] == [(first, first + 1) for first in range(1, 19, 2)]


def test_groups_are_made_by_the_layers_that_write_them(space: Space) -> None:
    by_name = {one.group: one for one in space.dimensions}
    inner = {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in range(3)}
    assert set(by_name) == inner | {"conv1", "layer2.0.conv2", "layer3.0.conv2"}
    for layer, name in enumerate(one.name for one in space.layers):
        if name in inner:
            assert by_name[name].layers == (layer,)
    # The stream starts with 16 channels; padding adds as many again in front of each later stage.
    ends = tuple(range(2, 20, 2))
    assert by_name["conv1"].layers == (0, *ends)
    assert by_name["layer2.0.conv2"].layers == ends[3:]
    assert by_name["layer3.0.conv2"].layers == ends[6:]
    assert [by_name[name].width for name in ("conv1", "layer2.0.conv2", "layer3.0.conv2")] == [16, 16, 32]
    assert by_name["layer3.0.conv1"].widths == (8, 16, 24, 32, 40, 48, 56, 64)


def test_kernels_are_decided_about_when_asked_for(teacher: Graph, space: Space) -> None:
    assert space.kernels == ()
    found = space_of(teacher, has_kernels=True)
    assert [one.layer for one in found.kernels] == [name for name, kind, *_ in facts() if kind == "conv"]
    assert all(found.layers[one.index].name == one.layer for one in found.kernels)
    assert {one.sizes for one in found.kernels} == {(1, 3)}


def test_savings_of_blocks_are_what_their_layers_cost(priced: Space) -> None:
    """Multiply-accumulates by hand: 9 * inputs * outputs * positions."""
    layers = {name: 9 * size**2 for name, size in ((1, 32), (2, 16), (3, 8))}
    width = {1: 16, 2: 32, 3: 64}
    block = {stage: layers[stage] * 2 * width[stage] ** 2 for stage in layers}
    first = {stage: layers[stage] * (width[stage] // 2 + width[stage]) * width[stage] for stage in (2, 3)}
    total = layers[1] * 3 * 16 + 3 * block[1] + sum(2 * block[one] + first[one] for one in (2, 3)) + 640
    costs = {one.block: one.savings["macs_ratio"] * total for one in priced.removals}
    assert costs["layer1.0.conv1/residual"] == pytest.approx(block[1])
    assert costs["layer2.0.conv1/residual"] == pytest.approx(first[2])
    assert costs["layer3.2.conv1/residual"] == pytest.approx(block[3])


def test_savings_of_a_group_are_in_proportion_to_what_goes(priced: Space) -> None:
    dimension = next(one for one in priced.dimensions if one.group == "layer3.1.conv1")
    saved = [one["macs_ratio"] for one in dimension.savings]
    assert saved[-1] == 0
    for width, one in zip(dimension.widths, saved, strict=True):
        assert one == pytest.approx(saved[0] * (64 - width) / 56), "also where it was not measured"
    assert all(value > 0 for one in priced.dimensions for saving in one.savings[:-1] for value in saving.values())
    assert all(value > 0 for one in priced.removals for value in one.savings.values())


def test_savings_add_up_where_choices_do_not_touch(priced: Space, teacher: Graph) -> None:
    scales = Scales(teacher)
    apart = priced.candidate(
        remove=["layer1.1.conv1/residual", "layer3.1.conv1/residual"], widths={"layer2.1.conv1": 8}
    )
    for name, value in scales(apart).metrics.items():
        assert forecast(priced, apart)[name] == pytest.approx(value, abs=1e-9)
    touching = priced.candidate(remove=["layer1.1.conv1/residual"], widths={"conv1": 8, "layer1.0.conv1": 8})
    real = scales(touching).metrics["macs_ratio"]
    assert forecast(priced, touching)["macs_ratio"] == pytest.approx(real, rel=0.15)
    assert forecast(priced, touching)["macs_ratio"] < real, "what goes twice is counted twice"


def test_the_number_of_measurements_is_foreseen_and_each_is_told(teacher: Graph) -> None:
    space, scales = space_of(teacher, has_kernels=True), Scales(teacher)
    told: list[int] = []
    priced = with_savings(space, scales, lambda: told.append(scales.count))
    assert len(told) == measurements_needed(space) == scales.count - 1
    assert all(one.savings[-1]["macs_ratio"] == 0 < one.savings[0]["macs_ratio"] for one in priced.kernels)


def test_what_cannot_be_carried_out_alone_is_taken_out(space: Space, teacher: Graph) -> None:
    scales = Scales(teacher)
    refused = "layer1.0.conv1/residual"

    def measure(candidate: Candidate) -> Evaluation:
        fails = refused in candidate.remove or "conv1" in candidate.widths
        fails |= candidate.widths.get("layer3.0.conv1") == 8
        return Evaluation(metrics={}, teacher_accuracy=0.9, failure="No.") if fails else scales(candidate)

    priced = with_savings(space, measure)
    assert refused not in [one.block for one in priced.removals]
    assert len(priced.removals) == len(space.removals) - 1
    assert "conv1" not in [one.group for one in priced.free]
    other = next(one for one in priced.free if one.group == "layer3.0.conv1")
    assert len(other.savings) == len(other.widths)


def test_a_gate_inside_a_branch_is_offered_and_so_is_the_branch() -> None:
    """An inverted residual as in MobileNetV3: expand, depthwise, squeeze-and-excitation, project."""
    net = start(1)
    x = net.op("HardSwish", net.norm(net.conv("x", 8, bias=False)))
    wide = net.op("HardSwish", net.norm(net.conv(x, 16, kernel=1, bias=False)))
    wide = net.squeeze_excite(net.op("HardSwish", net.norm(net.depthwise(wide))), 4)
    graph = head(net, net.op("Add", net.norm(net.conv(wide, 8, kernel=1, bias=False)), x))
    offered = {one.name: one.kind for one in blocks(graph)}
    space = space_of(graph, quantum=4)
    kinds = [offered[one.block] for one in space.removals]
    assert sorted(kinds) == ["gate", "residual"]
    gate = space.removals[kinds.index("gate")]
    branch = space.removals[kinds.index("residual")]
    assert branch.layers == (1, 2, 3, 4, 5)
    assert gate.layers == (3, 4)
    assert [one.kind for one in space.layers] == ["conv", "conv", "depthwise", "conv", "conv", "conv", "linear"]
    assert [(one.skip_start, one.skip_end) for one in space.layers[1:6]] == [(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)]
    priced = with_savings(space, Scales(graph))
    assert all(one.savings["params_ratio"] > 0 for one in priced.removals)


def test_a_merge_inside_a_branch_is_offered_and_takes_the_channels_between_along() -> None:
    graph = inverted_residual()
    offered = {one.name: one.kind for one in blocks(graph)}
    space = space_of(graph, quantum=4)
    kinds = [offered[one.block] for one in space.removals]
    assert sorted(kinds) == ["merge", "residual"]
    merge = space.removals[kinds.index("merge")]
    branch = space.removals[kinds.index("residual")]
    assert [one.kind for one in space.layers] == ["conv", "conv", "depthwise", "conv", "linear"]
    assert branch.layers == (1, 2, 3)
    assert merge.layers == (1, 2), "the project layer stays in its place, as narrow as its ends"
    (wide,) = (one for one in space.free if one.width == 24)
    assert space.candidate(remove=[merge.block], widths={wide.group: 8}).widths == {}

    priced = with_savings(space, Scales(graph))
    layer = next(name for name, kind in offered.items() if kind == "layer")
    alone = Scales(graph)(Candidate(remove=(layer,))).metrics
    saved = {one.block: one.savings for one in priced.removals}
    for metric, value in priced.teacher.items():
        assert value - alone[metric] < saved[merge.block][metric] < saved[branch.block][metric]


def test_a_merge_that_crosses_another_block_is_left_out_so_that_everything_can_go() -> None:
    graph = plain_layers()
    nodes = {one.name: set(one.nodes) for one in blocks(graph)}
    assert nodes["turned/merge"] & nodes["linear14/layer"]
    assert not nodes["turned/merge"] <= nodes["linear14/layer"]
    space = space_of(graph, quantum=2)
    names = {one.block for one in space.removals}
    assert names >= {"linear14/layer", "linear14/merge", "turned/layer"}
    assert "turned/merge" not in names
    for whole in (space, space_of(inverted_residual(), quantum=2)):
        weigh = Scales(graph if whole is space else inverted_residual())
        assert weigh(whole.candidate(remove=[one.block for one in whole.removals])).metrics["params_ratio"] < 1


def test_layers_outside_of_branches_may_go_by_themselves() -> None:
    space = space_of(plain_layers(), quantum=2)
    assert {len(one.layers) for one in space.removals} == {1}
    assert len(space.removals) >= 4
    assert all(one.skip_start == one.skip_end == 0 for one in space.layers)


def test_a_densely_connected_network_has_a_space_that_can_be_measured() -> None:
    graph = densely_connected()
    priced = with_savings(space_of(graph, quantum=2), Scales(graph))
    assert priced.removals
    assert priced.free
    assert all(one.savings["macs_ratio"] > 0 for one in priced.removals)


def test_the_quantum_decides_the_widths(teacher: Graph) -> None:
    widths = {one.group: one.widths for one in space_of(teacher, quantum=32).dimensions}
    assert widths["layer3.0.conv1"] == (32, 64)
    assert widths["layer1.0.conv1"] == (16,)
