"""Real measurements on tiny networks: every kind in every precision, and what comes back fits together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploycompress.calibration.fit import LEAST_STUDENTS, fit_table
from deploycompress.calibration.layer_table import predict_ratio
from deploycompress.calibration.layers import typical_layers
from deploycompress.calibration.sampling import Shipping, measure_staircase, measure_student
from deploycompress.calibration.staircase import Side, sweeps_of
from deploycompress.measuring.measurement import NS_PER_MS
from deploycompress.measuring.meter import Meter
from deploycompress.precision import Precision
from deploycompress.profile import Device, Measure, Profile, Runtime
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.costed import costed_form
from deploycompress.surgery.shipped import shipped_form
from tests.calibration.networks import QUANTA, depthwise_net, students_of, wide_net
from tests.calibration.test_staircase import every_kind, product_net

PROFILE = Profile.model_validate(
    {
        "name": "here",
        "schema": 1,
        "device": Device(title="here", arch="x86_64"),
        "runtime": Runtime(providers=("CPUExecutionProvider",)),
        "measure": Measure(warmup_seconds=0.01, max_seconds=60.0),
    }
)


def shipping(precision: Precision) -> Shipping:
    return lambda graph: costed_form(graph, precision, Int8Format())


@pytest.fixture(scope="module")
def meter() -> Iterator[Meter]:
    with Meter(PROFILE) as meter:
        yield meter


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
@pytest.mark.parametrize("kind", [typical.layer.kind for typical in typical_layers(every_kind())] + ["matmul"])
def test_every_kind_runs_and_wider_costs_more(meter: Meter, kind: str, precision: Precision) -> None:
    graph = product_net() if kind == "matmul" else every_kind()
    layer = next(typical.layer for typical in typical_layers(graph) if typical.layer.kind == kind)
    # Rows of a product and positions of an image enough that arithmetic, not the call, takes the time.
    sizes = {"gemm": (256,), "matmul": (256,)}
    sweep = replace(sweeps_of(layer)[-1], widths=(16, 128), size=sizes.get(kind, (16, 16)))
    narrow, wide = measure_staircase(meter, sweep, shipping=shipping(precision), seconds=0.1)
    assert (narrow.width, wide.width) == (16, 128)
    assert 0 < narrow.low_ms <= narrow.ms <= narrow.high_ms
    assert wide.ms > narrow.ms


def test_widths_of_a_staircase_keep_their_order(meter: Meter) -> None:
    layer = typical_layers(wide_net())[0].layer
    sweep = next(sweep for sweep in sweeps_of(layer) if sweep.side is Side.OUTPUT)
    widths = (8, 64, 128)
    found = measure_staircase(meter, replace(sweep, widths=widths), shipping=shipping(Precision.FP32), seconds=0.1)
    assert [step.width for step in found] == [*widths]


@pytest.mark.parametrize("precision", list(Precision))
def test_kernels_of_a_student_are_its_own_nodes(meter: Meter, precision: Precision) -> None:
    graph, ship = wide_net(), shipping(precision)
    baseline = ship(shipped_form(graph))
    for student in students_of(graph, 3):
        found = measure_student(meter, student, baseline, shipping=ship, quanta=QUANTA, seconds=0.1)
        assert set(found.student.node_us) <= {node.name for node in student.nodes}
        assert set(found.student.features) == {node.name for node in student.nodes}
        assert found.student.kernels_us > 0
        assert found.baseline_ms > 0
        assert found.conditions.profile == "here"


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_every_convolution_has_a_time_of_its_own(meter: Meter, precision: Precision) -> None:
    ship = shipping(precision)
    for graph in (wide_net(), depthwise_net()):
        student = shipped_form(graph)
        found = measure_student(meter, student, ship(student), shipping=ship, quanta=QUANTA, seconds=0.1)
        convolutions = {node.name for node in student.nodes if node.op == "Conv"}
        assert convolutions <= set(found.student.node_us)
        assert found.student.other_us < sum(found.student.node_us.values())


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_a_real_table_knows_a_small_student_from_the_teacher(meter: Meter, precision: Precision) -> None:
    graph = wide_net()
    teacher, ship = shipped_form(graph), shipping(precision)
    baseline = ship(teacher)
    measured = [
        measure_student(meter, one, baseline, shipping=ship, quanta=QUANTA, seconds=0.1)
        for one in (teacher, *students_of(graph, LEAST_STUDENTS))
    ]
    students = [replace(measured[0].student, ratio=1.0), *(one.student for one in measured[1:])]
    table = fit_table(students, quanta=QUANTA, teacher_ms=measured[0].baseline_ms)
    fresh = sorted(students_of(graph, 12, seed=5), key=lambda one: sum(array.size for array in one.weights.values()))
    assert predict_ratio(table, fresh[0]) < predict_ratio(table, teacher)
    assert 0 < predict_ratio(table, fresh[0]) < 1
    assert NS_PER_MS * table.teacher_ms > 1000
