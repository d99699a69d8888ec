"""Real measurements on tiny networks: every kind can be measured, and what comes back fits together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploycompress.calibration.fit import LEAST_STUDENTS, fit_table
from deploycompress.calibration.layer_table import predict_ratio
from deploycompress.calibration.layers import typical_layers
from deploycompress.calibration.sampling import measure_staircase, measure_student
from deploycompress.calibration.staircase import Side, sweeps_of
from deploycompress.measuring.measurement import NS_PER_MS
from deploycompress.measuring.meter import Meter
from deploycompress.profile import Device, Measure, Profile, Runtime
from deploycompress.surgery.shipped import shipped_form
from tests.calibration.networks import QUANTA, students_of, wide_net
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


@pytest.fixture(scope="module")
def meter() -> Iterator[Meter]:
    with Meter(PROFILE) as meter:
        yield meter


@pytest.mark.parametrize("kind", [typical.layer.kind for typical in typical_layers(every_kind())] + ["matmul"])
def test_every_kind_runs_and_wider_costs_more(meter: Meter, kind: str) -> None:
    graph = product_net() if kind == "matmul" else every_kind()
    layer = next(typical.layer for typical in typical_layers(graph) if typical.layer.kind == kind)
    # Rows of a product and positions of an image enough that arithmetic, not the call, takes the time.
    sizes = {"gemm": (256,), "matmul": (256,)}
    sweep = replace(sweeps_of(layer)[-1], widths=(16, 128), size=sizes.get(kind, (16, 16)))
    narrow, wide = measure_staircase(meter, sweep, seconds=0.1)
    assert (narrow.width, wide.width) == (16, 128)
    assert 0 < narrow.low_ms <= narrow.ms <= narrow.high_ms
    assert wide.ms > narrow.ms


def test_widths_of_a_staircase_keep_their_order(meter: Meter) -> None:
    layer = typical_layers(wide_net())[0].layer
    sweep = next(sweep for sweep in sweeps_of(layer) if sweep.side is Side.OUTPUT)
    widths = (8, 64, 128)
    assert [step.width for step in measure_staircase(meter, replace(sweep, widths=widths), seconds=0.1)] == [*widths]


def test_kernels_of_a_student_are_its_own_nodes(meter: Meter) -> None:
    graph = wide_net()
    teacher = shipped_form(graph)
    for student in students_of(graph, 3):
        found = measure_student(meter, student, teacher, quanta=QUANTA, seconds=0.1)
        assert set(found.student.node_us) <= {node.name for node in student.nodes}
        assert set(found.student.features) == {node.name for node in student.nodes}
        assert found.student.kernels_us > 0
        assert found.baseline_ms > 0
        assert found.conditions.profile == "here"


def test_a_real_table_knows_a_small_student_from_the_teacher(meter: Meter) -> None:
    graph = wide_net()
    teacher = shipped_form(graph)
    measured = [
        measure_student(meter, one, teacher, quanta=QUANTA, seconds=0.1)
        for one in (teacher, *students_of(graph, LEAST_STUDENTS))
    ]
    students = [replace(measured[0].student, ratio=1.0), *(one.student for one in measured[1:])]
    table = fit_table(students, quanta=QUANTA, teacher_ms=measured[0].baseline_ms)
    fresh = sorted(students_of(graph, 12, seed=5), key=lambda one: sum(array.size for array in one.weights.values()))
    assert predict_ratio(table, fresh[0]) < predict_ratio(table, teacher)
    assert 0 < predict_ratio(table, fresh[0]) < 1
    assert NS_PER_MS * table.teacher_ms > 1000
