"""The layer table against a device whose latencies are planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deploycompress.calibration.fit import cross_validate, fit_table
from deploycompress.calibration.layer_table import EVIDENCE, LayerCost, predict_ms, predict_ratio
from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from tests.calibration.networks import QUANTA, PlantedDevice, depthwise_net, students_of, wide_net


@pytest.mark.parametrize("network", [wide_net, depthwise_net])
def test_an_additive_device_is_recovered(network: Callable[[], Graph]) -> None:
    graph = network()
    device = PlantedDevice(graph)
    seen = [device.teacher, *students_of(graph, 30, seed=1)]
    table = fit_table([device.measure(one) for one in seen], quanta=QUANTA, teacher_ms=device.teacher_ms)
    for student in students_of(graph, 20, seed=2):
        assert predict_ms(table, student) == pytest.approx(device.latency_ms(student), rel=1e-3)
        assert predict_ratio(table, student) == pytest.approx(device.latency_ms(student) / device.teacher_ms, rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_noise_hurts_no_more_than_it_must(seed: int) -> None:
    graph = wide_net()
    device = PlantedDevice(graph, noise=0.03, seed=seed)
    students = [device.measure(one) for one in (device.teacher, *students_of(graph, 40, seed=seed))]
    error = cross_validate(students, quanta=QUANTA, teacher_ms=device.teacher_ms)
    assert len(error.errors) == 40
    # Each held-out measurement is off by 3 % itself; its median absolute error alone is 0.674 * 3 %.
    assert 0.01 < error.median < 0.03
    assert error.median <= error.worst < 0.15


def test_cross_validation_sees_what_a_table_cannot_know() -> None:
    """Latencies that have nothing to do with the students are not predicted, and the error says so."""
    graph = wide_net()
    device = PlantedDevice(graph)
    rng = np.random.default_rng(0)
    students = [device.measure(one) for one in (device.teacher, *students_of(graph, 30))]
    shuffled = [students[0], *(replace(one, ratio=float(rng.uniform(0.1, 1))) for one in students[1:])]
    assert cross_validate(students, quanta=QUANTA, teacher_ms=device.teacher_ms).median < 0.001
    assert cross_validate(shuffled, quanta=QUANTA, teacher_ms=device.teacher_ms).median > 0.1


def test_costs_are_told_at_the_teachers_size() -> None:
    graph = wide_net()
    device = PlantedDevice(graph)
    table = fit_table(
        [device.measure(one) for one in (device.teacher, *students_of(graph, 30))],
        quanta=QUANTA,
        teacher_ms=device.teacher_ms,
    )
    node_us, _ = device.kernels(device.teacher)
    for name, time_us in node_us.items():
        assert sum(table.layers[name].cost_us) == pytest.approx(time_us, abs=1e-3)


def test_another_models_graph_is_refused_by_the_name_of_its_node() -> None:
    graph = wide_net()
    device = PlantedDevice(graph)
    students = [device.measure(one) for one in (device.teacher, *students_of(graph, 20))]
    table = fit_table(students, quanta=QUANTA, teacher_ms=device.teacher_ms)
    with pytest.raises(MeasureError, match="does not know the node"):
        predict_ms(table, depthwise_net())
    with pytest.raises(MeasureError, match="BatchNormalization"):
        predict_ms(table, graph)  # not in the form that ships


def test_predictions_are_analytic() -> None:
    assert EVIDENCE is Evidence.ANALYTIC


@pytest.mark.parametrize("cost", [(1.0, 2.0, -0.1, 0.0), (float("nan"), 0.0, 0.0, 0.0), (1.0, 2.0)])
def test_costs_must_be_numbers_that_are_not_negative(cost: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="none negative"):
        LayerCost(unit=(1.0, 1.0, 1.0, 1.0), cost_us=cost)
