"""The table of layer latencies of one model on one machine in one precision, and what it predicts.

A prediction proposes and filters; it is never reported as a measurement, and its evidence is `analytic`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.calibration.features import NAMES, Vector, graph_features
from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from deploycompress.profile import ChannelSteps

EVIDENCE = Evidence.ANALYTIC
"""What every prediction is worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One node of the teacher: what it costs at the teacher's size, and what that is made of.

    Attributes:
        unit: the teacher's features (`features.NAMES`), shape [4].
        cost_us: microseconds of each feature at the teacher's size, none negative, shape [4].
    """

    unit: tuple[float, ...]
    cost_us: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (*self.unit, *self.cost_us)
        if not (len(self.unit) == len(self.cost_us) == len(NAMES)) or not all(0 <= n < math.inf for n in numbers):
            raise ValueError(f"A layer costs {self.cost_us} for {self.unit}; expected finite numbers, none negative.")

    def predict_us(self, features: Vector) -> float:
        """Give the node's time at other sizes."""
        unit = np.asarray(self.unit)
        relative = np.divide(features, unit, out=np.zeros_like(unit), where=unit > 0)
        return float(np.asarray(self.cost_us) @ relative)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModel:
    """How the time of a run follows from the sum K of its n kernels' times: factor K - profiler_us n + growth K^2.

    Attributes:
        factor: of the sum of the kernels' times.
        profiler_us: microseconds that the profiler adds to each kernel, and that go out again.
        growth: by how much longer runs take longer than their kernels one by one, per microsecond: they keep less of
            themselves in the caches, and the system interrupts them more often.
    """

    factor: float = 1.0
    profiler_us: float = 0.0
    growth: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= number < math.inf for number in (self.factor, self.profiler_us, self.growth)):
            raise ValueError(f"{self} is no model of a run; expected finite numbers, none negative.")

    def predict_us(self, kernels_us: float, count: int) -> float:
        """Give the time of a run, never below that of nothing."""
        return max(self.factor * kernels_us - self.profiler_us * count + self.growth * kernels_us**2, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """Latency of one model's students by layer.

    Attributes:
        quanta: that widths are rounded up with.
        layers: by node name, as the model ships; a node that always runs in another's kernel costs nothing.
        other: kernels that no node owns; its features are those of the whole graph, summed.
        run: how the time of a run follows from its kernels.
        teacher_ms: latency of the model itself in the table's precision, undisturbed.
    """

    quanta: ChannelSteps
    layers: Mapping[str, LayerCost]
    other: LayerCost
    run: RunModel
    teacher_ms: float


def predict_ms(table: LayerTable, graph: Graph) -> float:
    """Predict the undisturbed latency of a student of the table's model.

    Args:
        table: of the student's teacher.
        graph: the student in the form that ships (`surgery.shipped.shipped_form`), in single precision.

    Returns:
        Milliseconds; of evidence `analytic`.

    Raises:
        MeasureError: the graph has a node that the table does not know, so it is no student of the table's model.
    """
    return predict_from_features(table, graph_features(graph, table.quanta))


def predict_ratio(table: LayerTable, graph: Graph) -> float:
    """Predict a student's latency over the teacher's, both in the table's precision.

    Raises:
        MeasureError: the graph is no student of the table's model.
    """
    return predict_ms(table, graph) / table.teacher_ms


def predict_from_features(table: LayerTable, features: Mapping[str, Vector]) -> float:
    """Predict from what `graph_features` gave.

    Raises:
        MeasureError: a node is not in the table.
    """
    unknown = next((name for name in features if name not in table.layers), None)
    if unknown is not None:
        raise MeasureError(
            f"The latency table does not know the node {unknown!r}; it predicts students of its own model as they "
            "ship, with batch norms folded. Calibrate for this model, or measure."
        )
    layers_us = sum(table.layers[name].predict_us(vector) for name, vector in features.items())
    other_us = table.other.predict_us(whole_features(features))
    return table.run.predict_us(layers_us + other_us, count_kernels(table, features)) / 1000


def count_kernels(table: LayerTable, features: Mapping[str, Vector]) -> int:
    """Count the nodes that have a kernel of their own."""
    return sum(any(table.layers[name].cost_us) for name in features)


def whole_features(features: Mapping[str, Vector]) -> Vector:
    """Sum the nodes' features; the last entry, the number of nodes, stands for what each node brings along."""
    return np.sum(list(features.values()), axis=0) if features else np.zeros(4)
