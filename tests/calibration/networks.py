"""Networks with widths worth varying, and students of them with planted latencies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from deploycompress.calibration.features import graph_features
from deploycompress.calibration.fit import Student
from deploycompress.calibration.layer_table import whole_features
from deploycompress.calibration.students import random_students
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.profile import ChannelSteps
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start

QUANTA = ChannelSteps(quantum=8)
FACTOR, PROFILER_US, GROWTH = 0.9, 0.4, 1e-4


def wide_net(seed: int = 0) -> Graph:
    """Build a residual network of 32 and 64 channels, on images of 8x8."""
    return residual_net(seed, width=32)


def depthwise_net(seed: int = 0) -> Graph:
    """Build an inverted residual block between a stem and a head."""
    net = start(seed)
    x = net.op("Relu", net.norm(net.conv("x", 16)))
    y = net.op("Relu", net.norm(net.conv(x, 64, kernel=1)))
    y = net.op("Relu", net.norm(net.depthwise(y)))
    x = net.op("Add", net.norm(net.conv(y, 16, kernel=1)), x)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=(3, 8, 8))


def students_of(graph: Graph, count: int, *, quantum: int = 8, seed: int = 0) -> Iterator[Graph]:
    """Draw students as calibration does."""
    channels = trace_channels(graph)
    draws = random_students(graph, channels, blocks(graph, channels=channels), quantum=quantum, seed=seed)
    return islice(draws, count)


class PlantedDevice:
    """A device whose kernels' times are additive in their features, with known coefficients.

    Args:
        graph: the model that it knows.
        noise: relative, of every time.
        seed: of coefficients and noise.
    """

    def __init__(self, graph: Graph, *, noise: float = 0.0, seed: int = 0) -> None:
        self.rng, self.noise = np.random.default_rng(seed), noise
        self.teacher = shipped_form(graph)
        self.unit = graph_features(self.teacher, QUANTA)
        self.costs = {name: 10 * self.rng.random(4) for name in self.unit}
        for node in self.teacher.nodes:
            if node.op == "Relu":
                self.costs[node.name] = np.zeros(4)  # as if it ran in another's kernel
        self.other = np.array([0.0, 3.0, 0.0, 5.0])
        self.teacher_ms = self.latency_ms(self.teacher)

    def latency_ms(self, graph: Graph) -> float:
        """Give the true latency."""
        node_us, other_us = self.kernels(graph)
        kernels = sum(time > 0 for time in node_us.values())
        total = sum(node_us.values()) + other_us
        return (FACTOR * total - PROFILER_US * kernels + GROWTH * total**2) / 1000

    def kernels(self, graph: Graph) -> tuple[dict[str, float], float]:
        """Give the true times of kernels by node, and of those that no node owns."""
        features = graph_features(graph, QUANTA)
        node_us = {
            name: float(
                self.costs[name] @ np.divide(vector, self.unit[name], out=np.zeros(4), where=self.unit[name] > 0)
            )
            for name, vector in features.items()
        }
        whole, unit = whole_features(features), whole_features(self.unit)
        return node_us, float(self.other @ np.divide(whole, unit, out=np.zeros(4), where=unit > 0))

    def measure(self, graph: Graph) -> Student:
        """Measure with noise."""
        node_us, other_us = self.kernels(graph)
        return Student(
            features=graph_features(graph, QUANTA),
            node_us={name: time * self._error() for name, time in node_us.items() if time > 0},
            other_us=other_us * self._error(),
            ratio=self.latency_ms(graph) / self.teacher_ms * self._error(),
        )

    def _error(self) -> float:
        return 1 + self.noise * float(self.rng.standard_normal())
