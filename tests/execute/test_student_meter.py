"""What was measured once is remembered, but only where it was measured; several devices measure ahead."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploycompress.execute.stages import StageTimer
from deploycompress.execute.structure import structure_digest
from deploycompress.execute.student_meter import MOST_ANCHORS, StudentMeter
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.measuring.devices import Devices, open_devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.costed import costed_form
from deploycompress.store.memory import Memory
from tests.measuring.networks import conv_net
from tests.shared import ROOT

SECONDS = 0.05


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(Path(ROOT) / "profiles" / "x86.toml")


def network(width: int) -> Graph:
    import onnx

    return graph_from_onnx(onnx.load_model_from_string(conv_net(width)))


def meter_of(devices: Devices, memory: Memory, precision: Precision = Precision.FP32) -> StudentMeter:
    return StudentMeter(
        devices,
        network(16),
        costed=lambda graph, higher: costed_form(graph, precision, Int8Format(), higher=higher),
        seconds=SECONDS,
        anchor_seconds=0.5,
        anchor_starts=3,
        with_rss=False,
        memory=memory,
        timer=StageTimer(),
    )


def test_equal_structures_are_measured_once(profile: Profile) -> None:
    memory = Memory()
    with open_devices(profile, (), print) as devices:
        meter = meter_of(devices, memory)
        first = meter.metrics(network(8))
        assert meter_of(devices, memory).metrics(network(8)) == first
        assert (len(memory), meter.count) == (1, 1)


def test_what_another_setup_measured_does_not_count(profile: Profile) -> None:
    memory = Memory()
    unspun = profile.runtime.model_copy(update={"session": {"session.intra_op.allow_spinning": "0"}})
    for one in (profile, profile.model_copy(update={"runtime": unspun})):
        with open_devices(one, (), print) as devices:
            meter_of(devices, memory).metrics(network(8))
    assert len(memory) == 2


def test_several_devices_measure_ahead_and_one_does_not(profile: Profile) -> None:
    targets = [f"exec:env BOARD={name} {sys.executable} -I -c {{bootstrap}}" for name in ("a", "b")]
    ahead = Memory()
    with open_devices(profile, targets, print) as devices:
        meter = meter_of(devices, ahead)
        meter.measure_ahead([network(8), network(12), network(8)])
        assert len(ahead) <= 2  # what was disturbed is left for later
        assert all(0 < metrics["latency_ratio"] < 2 for metrics in ahead.values())
        assert meter.metrics(network(12))["macs_ratio"] < 1
    alone = Memory()
    with open_devices(profile, (), print) as devices:
        meter_of(devices, alone).measure_ahead([network(8)])
    assert not alone


def test_what_another_precision_costs_does_not_count(profile: Profile) -> None:
    memory = Memory()
    with open_devices(profile, (), print) as devices:
        single = meter_of(devices, memory).metrics(network(16))
        eight_bits = meter_of(devices, memory, Precision.INT8)
        metrics = eight_bits.metrics(network(16))
        mixed = eight_bits.metrics(network(16), higher=tuple(kernels(network(16))))
    assert single["latency_ratio"] == 1.0
    assert len(memory) == 4  # and what the two precisions of the teacher take
    assert metrics["file_ratio"] < single["file_ratio"] == mixed["file_ratio"]
    assert metrics["macs"] == single["macs"]


def test_a_student_in_eight_bits_is_measured_beside_the_teacher_in_eight_bits(profile: Profile) -> None:
    memory = Memory()
    with open_devices(profile, (), print) as devices:
        meter = meter_of(devices, memory, Precision.INT8)
        teacher, student = meter.metrics(network(16)), meter.metrics(network(8))
        direct = [meter.measure_thoroughly(network(8), seconds=0.5, starts=3)[0]["latency_ratio"] for _ in range(3)]
    anchors = [known["latency_ratio"] for key, known in memory.items() if key.startswith("anchor:")]
    assert teacher["latency_ratio"] in anchors
    assert len(anchors) <= MOST_ANCHORS
    assert student["latency_ratio"] == pytest.approx(sorted(direct)[1], rel=0.35)


def test_a_student_in_single_precision_is_measured_beside_the_teacher_in_single_precision(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_devices(profile, (), print) as devices:
        meter, real, beside = meter_of(devices, Memory(), Precision.INT8), devices.measure, []

        def measure(student: Graph, *, baseline: Graph, **limits: float) -> Measurement:
            beside.append(structure_digest(baseline) == structure_digest(network(16)))
            return real(student, baseline=baseline, **limits)  # type: ignore[arg-type]  # numbers, as they came

        monkeypatch.setattr(devices, "measure", measure)
        meter.metrics(network(8), is_single=True)
        assert set(beside) == {True}
        beside.clear()
        meter.metrics(network(8))
        assert 1 <= beside.count(True) <= MOST_ANCHORS, "what relates the precisions"
        assert beside.count(False) >= 1


def test_what_relates_the_precisions_is_taken_again_where_the_machine_was_disturbed(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    with open_devices(profile, (), print) as devices:
        meter = meter_of(devices, memory, Precision.INT8)
        real = devices.measure
        taken: list[Measurement] = []

        def disturbed(student: Graph, *, baseline: Graph, **limits: float) -> Measurement:
            found = real(student, baseline=baseline, **limits)  # type: ignore[arg-type]  # numbers, as they came
            slow = tuple(tuple(4 * one for one in block) for block in found.student_ns)
            if limits.get("starts", 1) == 1:
                return found
            taken.append(replace(found, student_ns=slow) if len(taken) != 1 else found)
            return taken[-1]

        monkeypatch.setattr(devices, "measure", disturbed)
        before, *later = [meter.metrics(network(8))["latency_ratio"] for _ in range(2 + MOST_ANCHORS)]
    assert 2 <= len(taken) <= MOST_ANCHORS, "a machine that is never as quiet again is not waited for"
    assert len([key for key in memory if key.startswith("anchor:")]) == len(taken)
    assert later == [pytest.approx(before * taken[1].ratio / taken[0].ratio)] * (1 + MOST_ANCHORS)


def kernels(graph: Graph) -> list[str]:
    return [node.inputs[1].removesuffix(".weight") for node in graph.nodes if node.op == "Conv"]
