"""Several equal boards that share the work; a board that is lost hands its work to the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from deploycompress.errors import MeasureError, UsageError
from deploycompress.graph import Graph
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.model import Source
from deploycompress.measuring.node_times import NodeTimes
from deploycompress.measuring.reach.failures import DeviceError, UnfitDeviceError
from deploycompress.measuring.reach.target import Target
from deploycompress.profile import Profile

Found = TypeVar("Found")

_EQUAL_PARTS = ("arch", "board", "cpu", "cores", "power_mode")


class Pool:
    """Measures like a `Meter`, on whichever board is free; every measurement is of one board.

    Args:
        profile: the target device.
        targets: where its boards are, each one once.
        grace_seconds: see `Meter`.
        memory_limit_bytes: see `Meter`.
        on_lost: told, in a sentence, of each board that is taken out.

    Raises:
        UsageError: no target, or one twice.
    """

    def __init__(
        self,
        profile: Profile,
        targets: Sequence[Target],
        *,
        grace_seconds: float | None = None,
        memory_limit_bytes: int | None = None,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        texts = [target.text for target in targets]
        if not texts or len(set(texts)) < len(texts):
            raise UsageError(f"A pool needs different targets, got {', '.join(texts) or 'none'}.")
        self.profile = profile
        self._on_lost = on_lost
        self._meters = [
            Meter(profile, target=target, grace_seconds=grace_seconds, memory_limit_bytes=memory_limit_bytes)
            for target in targets
        ]
        self._free = list(self._meters)
        self._change = threading.Condition()
        self._lost: list[str] = []
        self._kind: tuple[object, ...] | None = None

    def __enter__(self) -> Self:
        """Start measuring; the boards are reached with the first models."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the measuring processes."""
        self.close()

    @property
    def lost(self) -> tuple[str, ...]:
        """Which boards were taken out, and why."""
        return tuple(self._lost)

    def close(self) -> None:
        """End the measuring processes; the next measurement starts new ones."""
        for meter in self._meters:
            meter.close()

    def measure(
        self,
        model: Source,
        *,
        baseline: Source | None = None,
        max_seconds: float | None = None,
        min_samples: int | None = None,
        starts: int = 1,
        input_shape: tuple[int, ...] | None = None,
    ) -> Measurement:
        """Measure a model on the first free board; see `Meter.measure`.

        Raises:
            FailedMeasurementError: this model could not be measured; the next one can be.
            MeasureError: no board is left, or the profile asks for what cannot be.
            ModelError: the model is not fit for the profile's runtime.
        """
        return self._on_a_board(
            lambda meter: meter.measure(
                model,
                baseline=baseline,
                max_seconds=max_seconds,
                min_samples=min_samples,
                starts=starts,
                input_shape=input_shape,
            )
        )

    def measure_together(
        self,
        models: Sequence[Source],
        *,
        max_seconds: float | None = None,
        min_samples: int | None = None,
        starts: int = 1,
        input_shape: tuple[int, ...] | None = None,
    ) -> tuple[Measurement, ...]:
        """Measure models in turns on one board; see `Meter.measure_together`.

        Raises:
            FailedMeasurementError: one of the models could not be measured.
            MeasureError: no board is left, or the profile asks for what cannot be.
            ModelError: a model is not fit for the profile's runtime.
        """
        return self._on_a_board(
            lambda meter: meter.measure_together(
                models, max_seconds=max_seconds, min_samples=min_samples, starts=starts, input_shape=input_shape
            )
        )

    def measure_all(
        self,
        models: Sequence[Source],
        *,
        baseline: Source | None = None,
        max_seconds: float | None = None,
        min_samples: int | None = None,
    ) -> list[Measurement | FailedMeasurementError]:
        """Measure many models, as many at a time as there are boards.

        Args:
            models: what to measure.
            baseline: what each is compared with, on the board where it is measured.
            max_seconds: see `Meter.measure`.
            min_samples: see `Meter.measure`.

        Returns:
            For each model, in the same order, its measurement or why there is none.

        Raises:
            MeasureError: no board is left, or the profile asks for what cannot be.
            ModelError: a model is not fit for the profile's runtime.
        """

        def attempt(model: Source) -> Measurement | FailedMeasurementError:
            try:
                return self.measure(model, baseline=baseline, max_seconds=max_seconds, min_samples=min_samples)
            except FailedMeasurementError as error:
                return error

        with ThreadPoolExecutor(max_workers=len(self._meters)) as workers:
            tasks = [workers.submit(attempt, model) for model in models]
            try:
                return [task.result() for task in tasks]
            except BaseException as error:
                workers.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, Exception):  # interrupted: whoever waits for a device waits no longer
                    for meter in self._meters:
                        meter.board.give_up()
                raise

    def node_times(self, graph: Graph) -> NodeTimes:
        """Measure how long each node takes; see `Meter.node_times`."""
        return self._on_a_board(lambda meter: meter.node_times(graph))

    def peak_rss_bytes(self, model: Source, *, input_shape: tuple[int, ...] | None = None) -> int:
        """Measure resident memory; see `Meter.peak_rss_bytes`."""
        return self._on_a_board(lambda meter: meter.peak_rss_bytes(model, input_shape=input_shape))

    def _on_a_board(self, work: Callable[[Meter], Found]) -> Found:
        while True:
            meter = self._borrow()
            try:
                self._require_equal(meter)
                found = work(meter)
            except DeviceError as error:
                self._take_out(meter, error)
                continue
            except BaseException:
                self._give_back(meter)
                raise
            self._give_back(meter)
            return found

    def _borrow(self) -> Meter:
        with self._change:
            self._change.wait_for(lambda: self._free or len(self._lost) == len(self._meters))
            if not self._free:
                raise MeasureError(f"No board is left to measure on: {' '.join(self._lost)}")
            return self._free.pop(0)

    def _give_back(self, meter: Meter) -> None:
        with self._change:
            self._free.append(meter)
            self._change.notify()

    def _take_out(self, meter: Meter, error: DeviceError) -> None:
        meter.close()
        with self._change:
            name = meter.board.target.name
            why = str(error) if name in str(error) else f"{name}: {error}"
            self._lost.append(why)
            self._change.notify_all()
        left = len(self._meters) - len(self._lost)
        if left:
            self._on_lost(f"A board is lost, {left} of {len(self._meters)} go on: {why}")

    def _require_equal(self, meter: Meter) -> None:
        """Take no board that is another kind of machine: what one measures would not hold for the other."""
        about = meter.board.about
        kind = (about["onnxruntime"], *(about["machine"][part] for part in _EQUAL_PARTS))
        with self._change:
            self._kind = self._kind or kind
            if kind != self._kind:
                raise UnfitDeviceError(
                    f"{meter.board.target.name} is another machine than the first of the pool: ONNX Runtime, "
                    f"architecture, board, processor, cores, power mode are {kind}, not {self._kind}; measure there in "
                    "another run."
                )
