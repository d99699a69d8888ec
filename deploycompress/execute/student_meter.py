"""What students cost: each is measured beside the teacher, once, and again where something else used the machine.

That teacher has the students' own precision, and how its latency relates to that in single precision is measured
thoroughly, again where it later proves to be faster than it was then. A machine that other programs use slows single
precision and 8 bits by different factors, so ratios across the two scatter ten times as much as ratios within one: on
two virtual cores twelve readings of ResNet-56 without one block scattered by 2.3 to 4.6 % and by 0.2 to 0.3 %, where
the block saves 2.4 to 5.5 %.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from deploycompress.execute.metrics import student_metrics
from deploycompress.execute.stages import StageTimer
from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.measuring.conditions import Conditions
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.pool import Pool
from deploycompress.measuring.quiet import QUIET
from deploycompress.store.memory import Memory

Metrics = Mapping[str, float]
Costed = Callable[[Graph, Collection[str]], Graph]
"""Gives a network the precision that it ships in, but for some layers."""

logger = logging.getLogger(__name__)

ATTEMPTS = 9
PAUSE_S = 0.25  # before the second attempt; doubled each time, so that a minute of disturbance is waited out
DISTURBED = 2.0  # times the teacher's usual latency; a neighbour on the same core seldom slows it more
MOST_ANCHORS = 3
MEMORY = "2"  # the form of what is remembered, so that a run that an older version began is measured again
PATIENCE = 3  # attempts once the machine has stayed slow


@dataclass(slots=True, kw_only=True)
class _Reference:
    """The teacher in a precision, which students of that precision are measured beside.

    Attributes:
        graph: the network.
        structure: its digest.
        usual_ms: what it takes; infinite before it was measured.
        latest_ms: what it took the last time.
    """

    graph: Graph
    structure: str
    usual_ms: float = math.inf
    latest_ms: float = math.inf

    @classmethod
    def of(cls, graph: Graph) -> _Reference:
        return cls(graph=graph, structure=structure_digest(graph))

    def is_within(self, factor: float, found: Measurement) -> bool:
        """Whether it took no more than so many times its usual latency; what is faster becomes the usual one."""
        self.latest_ms = found.baseline_median_ms
        self.usual_ms = min(self.usual_ms, self.latest_ms)
        return self.latest_ms <= factor * self.usual_ms


class StudentMeter:
    """Measures students as they would ship.

    Args:
        devices: where to measure.
        baseline: the teacher as it would ship if it stayed in single precision, which all ratios are relative to.
        costed: gives a network the form that is measured.
        seconds: time for one latency measurement.
        anchor_seconds: time for that of the teacher in both precisions.
        anchor_starts: fresh processes for it.
        with_rss: whether resident memory is taken, too.
        memory: what was measured before, by where that was and the digest of the structure, with ratios to the teacher
            beside which it was; added to.
        timer: told what measuring takes.
    """

    def __init__(
        self,
        devices: Devices,
        baseline: Graph,
        *,
        costed: Costed,
        seconds: float,
        anchor_seconds: float,
        anchor_starts: int,
        with_rss: bool,
        memory: Memory,
        timer: StageTimer,
    ) -> None:
        self._devices, self._costed = devices, costed
        self._single, self._own = _Reference.of(baseline), _Reference.of(costed(baseline, ()))
        self._seconds, self._with_rss = seconds, with_rss
        self._anchor_seconds, self._anchor_starts = anchor_seconds, anchor_starts
        self._memory, self._timer = memory, timer
        self._attempts = ATTEMPTS
        first = devices.measure(baseline, max_seconds=0.0)
        self._baseline_peak_bytes = first.activation_peak_bytes
        self._place = _place(first.conditions, self._own.structure)
        self._asked: set[str] = set()

    @property
    def count(self) -> int:
        """Number of different networks that were asked about."""
        return len(self._asked)

    def metrics(self, shipped: Graph, *, higher: Collection[str] = (), is_single: bool = False) -> Metrics:
        """Give a student's metrics, those that need no accuracy.

        Args:
            shipped: the student in its shipped form, in single precision.
            higher: layers that stay in it.
            is_single: whether all of it does.

        Raises:
            FailedMeasurementError: it cannot be measured.
        """
        key = self._key(shipped, higher) + (":single" if is_single else "")
        beside = self._single if is_single else self._own
        self._asked.add(key)
        metrics = self._memory.get(key)
        if metrics is None:
            with self._timer.stage("measure"):
                metrics = self._taken(key, shipped if is_single else self._costed(shipped, higher), beside)
        return {**metrics, "latency_ratio": metrics["latency_ratio"] * self._anchor(beside)}

    def measure_thoroughly(self, shipped: Graph, *, seconds: float, starts: int) -> tuple[Metrics, Measurement]:
        """Measure a student in several fresh processes; what was measured before is not asked.

        Raises:
            FailedMeasurementError: it cannot be measured.
        """
        with self._timer.stage("measure"):
            costed = self._costed(shipped, ())
            found = self._devices.measure(costed, baseline=self._single.graph, max_seconds=seconds, starts=starts)
            return self._metrics(costed, found), found

    def measure_ahead(self, students: Iterable[Graph]) -> None:
        """Measure many students at a time where several devices share the work; elsewhere this does nothing.

        What fails or was disturbed is not remembered, and so is measured when it is asked about.
        """
        if not isinstance(self._devices, Pool):
            return
        waiting = {key: one for one in students if (key := self._key(one)) not in self._memory}
        with self._timer.stage("measure"):
            costed = [self._costed(shipped, ()) for shipped in waiting.values()]
            found = self._devices.measure_all(costed, baseline=self._own.graph, max_seconds=self._seconds)
            for key, one, measurement in zip(waiting, costed, found, strict=True):
                if isinstance(measurement, Measurement) and self._own.is_within(DISTURBED, measurement):
                    self._memory.add(key, self._beside(one, measurement, self._own))

    def _taken(self, key: str, costed: Graph, beside: _Reference) -> Metrics:
        """Measure a network and remember what that gave, unless something else used the machine."""
        found = self._quietest(costed, beside)
        metrics = self._beside(costed, found, beside)
        if beside.is_within(DISTURBED, found):
            self._memory.add(key, metrics)
        else:
            self._settle_for(found, beside)
        return metrics

    def _beside(self, costed: Graph, found: Measurement, beside: _Reference) -> Metrics:
        metrics = self._metrics(costed, found)
        # by definition; noise must not let the teacher meet a limit
        return {**metrics, "latency_ratio": 1.0} if structure_digest(costed) == beside.structure else metrics

    def _anchor(self, beside: _Reference) -> float:
        """Give the latency ratio of what a student is measured beside, to the teacher in single precision.

        It is taken again, a few times at most, where that network is seen to be faster: then something else used the
        machine, and no longer does. What counts is the time at which it was fastest.
        """
        if beside.structure == self._single.structure:
            return 1.0
        taken = self._anchors()
        fastest_ms = min((one["latency_ms"] for one in taken), default=math.inf)
        if not taken or (fastest_ms > QUIET * beside.latest_ms and len(taken) < MOST_ANCHORS):
            with self._timer.stage("measure"):
                found = self._devices.measure(
                    beside.graph,
                    baseline=self._single.graph,
                    max_seconds=self._anchor_seconds,
                    starts=self._anchor_starts,
                )
            again = {"latency_ratio": found.ratio, "latency_ms": found.median_ms}
            self._memory.add(self._anchor_key(len(taken)), again)
            taken.append(again)
        return min(taken, key=lambda one: one["latency_ms"])["latency_ratio"]

    def _anchors(self) -> list[Metrics]:
        """Give what relates the precisions, as often as it was taken: what is remembered stays, so each has its key."""
        known = (self._memory.get(self._anchor_key(number)) for number in range(MOST_ANCHORS))
        return [one for one in known if one is not None]

    def _anchor_key(self, number: int) -> str:
        return f"anchor:{self._place}:{number}"

    def _metrics(self, costed: Graph, found: Measurement) -> Metrics:
        if self._with_rss:
            found = replace(found, peak_rss_bytes=self._devices.peak_rss_bytes(costed))
        return student_metrics(costed, self._single.graph, found, self._baseline_peak_bytes, file=costed.to_bytes())

    def _quietest(self, shipped: Graph, beside: _Reference) -> Measurement:
        """Measure beside the teacher, again when the teacher itself was slow: then something else used the machine.

        A neighbour on the same core is no reason: in one precision it moves ratios little. On two virtual cores
        students of ResNet-56 and MobileNetV3 read 4 and 1 % smaller while the teacher took 1.2 to 2.2 times its usual
        latency, for minutes at a time.
        """
        found = quietest = self._measure(shipped, beside)
        for attempt in range(1, self._attempts):
            if beside.is_within(DISTURBED, found):
                break
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
            found = self._measure(shipped, beside)
            quietest = min(quietest, found, key=lambda one: one.baseline_median_ms)
        return quietest

    def _measure(self, shipped: Graph, beside: _Reference) -> Measurement:
        return self._devices.measure(shipped, baseline=beside.graph, max_seconds=self._seconds)

    def _settle_for(self, found: Measurement, beside: _Reference) -> None:
        """Take the speed that the machine has now for its usual one, and wait less for another from now on.

        A virtual machine may go between two speeds for minutes at a time (one teacher: 0.78 and 1.37 ms), and both
        networks of a ratio are measured at the same one.
        """
        if self._attempts == ATTEMPTS:
            logger.warning(
                "The teacher takes %.3g ms and took %.3g ms before: something else uses the machine, or its speed "
                "changes. The search goes on with the ratios that it finds; what ships is measured again.",
                found.baseline_median_ms,
                beside.usual_ms,
            )
        self._attempts, beside.usual_ms = PATIENCE, found.baseline_median_ms

    def _key(self, shipped: Graph, higher: Collection[str] = ()) -> str:
        mixture = f":{','.join(sorted(higher))}" if higher else ""
        return f"metrics:{self._place}:{structure_digest(shipped)}{mixture}"


def _place(conditions: Conditions, form: str) -> str:
    """Digest where, how and in which form is measured, so that a run that goes on elsewhere remembers nothing of it."""
    machine = conditions.machine
    parts = (
        MEMORY, machine.id, machine.power_mode, conditions.onnxruntime, conditions.profile_digest,
        *conditions.providers, form,
    )  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
