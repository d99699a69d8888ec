"""Calibration in one precision, from beginning to end: staircases, quanta, random students, a table of latencies."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploycompress.calibration.features import graph_features
from deploycompress.calibration.findings import Staircase, derive_quanta
from deploycompress.calibration.fit import LEAST_STUDENTS, Student, cross_validate, fit_table
from deploycompress.calibration.layers import TypicalLayer, typical_layers
from deploycompress.calibration.quantum import find_quantum
from deploycompress.calibration.sampling import MeasuredStudent, measure_staircase, measure_student
from deploycompress.calibration.staircase import Sweep, sweeps_of
from deploycompress.calibration.students import random_students
from deploycompress.calibration.table_file import StoredTable, cache_folder, save_table, table_key
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import MeasureError, ModelError, UsageError
from deploycompress.evaluation import Evidence
from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Conditions, Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.boards import on_first_board
from deploycompress.precision import Precision
from deploycompress.profile import ChannelSteps, Profile
from deploycompress.quantize.costed import costed_form
from deploycompress.quantize.support import kept_single, require_float
from deploycompress.report.progress import Progress, SilentProgress
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.shipped import shipped_form
from deploycompress.surgery.wiring import wire

DEFAULT_BUDGET_S = 300.0
STAIRCASE_SHARE = 0.25  # of the budget; loading networks takes as long again
LEAST_STAIRCASE_S, MOST_STAIRCASE_S = 0.5, 6.0
STUDENT_S = 0.5  # for sampling one student's latency
ROOM_FOR_ERROR = 1.2  # what is left was foreseen from what was done
MOST_STUDENTS = 80
FRESH_EVERY = 4
"""Students after which the measuring process is replaced: the teacher's session stays loaded beside them, one session
differs from the next by several percent, and all students would share its error."""

MOST_REPEATS = 200  # draws in a row that give a student already measured: then there are no others
DISTURBED = 1.5  # times the teacher's usual latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was found on a device.

    Attributes:
        precision: arithmetic that was measured; everything below holds for it alone.
        conditions: machine, runtime and profile.
        staircases: by kind and side.
        quanta: what follows for the profile.
        table: the table of layer latencies; None where the model has too few different students.
        table_path: where it lies.
        students: number of students it was fitted to.
        without_rule: operators with weights that no staircase is known for.
        date: ISO 8601, in UTC.
        seconds: what all of it took.
    """

    precision: Precision
    conditions: Conditions
    staircases: tuple[Staircase, ...]
    quanta: ChannelSteps
    table: StoredTable | None
    table_path: Path | None
    students: int
    without_rule: tuple[str, ...]
    date: str
    seconds: float


def calibrate(
    graph: Graph,
    profile: Profile,
    *,
    precision: Precision = Precision.FP32,
    target: Sequence[str] = (),
    budget_s: float = DEFAULT_BUDGET_S,
    cache: Path | None = None,
    seed: int = 0,
    allow_proxy: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Find a device's channel quanta and a table of layer latencies for one model, by measuring.

    Args:
        graph: a captured model.
        profile: the target device.
        precision: arithmetic to measure in; scales of 8-bit graphs are made up, for they change no latency.
        target: ways to the board; the first that answers measures, none for this machine.
        budget_s: seconds for everything.
        cache: folder for the table; None for the user's cache folder.
        seed: decides which students are measured.
        allow_proxy: calibrate on another machine than the profile's device, too.
        progress: who is told of the stages.

    Raises:
        MeasureError: the device is not available or too busy to measure on, or another machine answered, or the device
            does not run the model in this precision.
        ModelError: no channel of the model can be cut, it is quantised already, or not fit for the profile's runtime.
        OutputError: the table cannot be written.
        UsageError: the budget is too small.
    """
    listener = progress or SilentProgress()
    require_float(graph)
    channels = trace_channels(graph)
    _require_cuttable(channels)
    _warn_of_conversions(profile, precision, listener)

    def work(meter: Meter) -> Calibration:
        run = _Calibrating(graph, channels, precision, meter, budget_s=budget_s, seed=seed, progress=listener)
        return run.run(cache or cache_folder(), allow_proxy=allow_proxy)

    return on_first_board(profile, target, work, listener)


class _Calibrating:
    """One calibration under way."""

    def __init__(
        self,
        graph: Graph,
        channels: Channels,
        precision: Precision,
        meter: Meter,
        *,
        budget_s: float,
        seed: int,
        progress: Progress,
    ) -> None:
        self.started_s = time.monotonic()
        self.graph, self.channels, self.precision, self.meter = graph, channels, precision, meter
        self.budget_s, self.seed, self.progress = budget_s, seed, progress
        self.teacher = shipped_form(graph)
        _warn_of_single(self.teacher, precision, progress)
        self.baseline = self.shipping(self.teacher)

    def shipping(self, graph: Graph) -> Graph:
        """Bring a graph into the precision that is measured."""
        return costed_form(graph, self.precision, self.meter.profile.precision.int8)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_s

    def run(self, cache: Path, *, allow_proxy: bool) -> Calibration:
        """Measure everything and write the table."""
        known = self.meter.profile.channels.at(self.precision)
        with self.progress.stage("measure the model"):
            # The process starts: what follows tells what others cost.
            started = self._started()
            if not allow_proxy:
                _require_device(started.conditions, self.meter.profile)
            before_s = self.elapsed_s
            first = self._measure(self.teacher, known)
            student_s = self.elapsed_s - before_s
        typical = typical_layers(self.teacher)
        staircases = self._staircases(typical, student_s)
        quanta = derive_quanta(known, staircases)
        features = graph_features(self.teacher, quanta)
        whole = replace(first.student, ratio=1.0, features=features)
        others, teacher_ms = self._students(quanta, first)
        table, path = self._table([whole, *others], quanta, teacher_ms, first.conditions, cache)
        return Calibration(
            precision=self.precision,
            conditions=first.conditions,
            staircases=staircases,
            quanta=quanta,
            table=table,
            table_path=path,
            students=len(others),
            without_rule=_without_rule(self.teacher),
            date=_today(),
            seconds=self.elapsed_s,
        )

    def _started(self) -> Measurement:
        """Measure the model itself for the first time, which shows whether the device runs it so at all."""
        try:
            return self.meter.measure(self.baseline, max_seconds=0.0)
        except FailedMeasurementError as error:
            if self.precision is Precision.FP32 or error.kind is not FailureKind.REJECTED:
                raise
            providers = ", ".join(self.meter.profile.runtime.providers)
            raise MeasureError(
                f"The device does not load the model in {self.precision} with {providers}: {error} Look at the table "
                f"[precision] of profile {self.meter.profile.name!r}, or calibrate for another precision."
            ) from error

    def _staircases(self, typical: Sequence[TypicalLayer], student_s: float) -> tuple[Staircase, ...]:
        todo = [(sweep, one.share) for one in typical for sweep in sweeps_of(one.layer)]
        seconds = STAIRCASE_SHARE * self.budget_s / max(len(todo), 1)
        seconds = min(max(seconds, LEAST_STAIRCASE_S), MOST_STAIRCASE_S)
        found: list[Staircase] = []
        done = 0
        with self.progress.stage("measure staircases", len(todo)) as stage:
            for sweep, share in todo:
                before_s, name = self.elapsed_s, f"{sweep.layer.kind}, {sweep.side}"
                try:
                    found.append(self._staircase(sweep, share, seconds))
                    stage.note(f"{name}: {found[-1].verdict}")
                except FailedMeasurementError as error:
                    self.progress.warning(f"The staircase of {name} was left out: {error}")
                stage.advance()
                done += 1
                left = (len(todo) - done) * (self.elapsed_s - before_s)
                self._require_time(left + LEAST_STUDENTS * student_s)
        return tuple(found)

    def _staircase(self, sweep: Sweep, share: float, seconds: float) -> Staircase:
        times = measure_staircase(self.meter, sweep, shipping=self.shipping, seconds=seconds)
        confidence = self.meter.profile.measure.confidence
        return Staircase(sweep=sweep, share=share, times=times, finding=find_quantum(times, confidence=confidence))

    def _require_time(self, needed_s: float) -> None:
        if self.elapsed_s + needed_s > self.budget_s:
            enough_s = ROOM_FOR_ERROR * (self.elapsed_s + needed_s)
            raise UsageError(
                f"The budget of {self.budget_s:.0f} s is too small: {self.elapsed_s:.0f} s are gone and about "
                f"{needed_s:.0f} s are needed for what is left; give at least {enough_s:.0f} s."
            )

    def _students(self, quanta: ChannelSteps, first: MeasuredStudent) -> tuple[list[Student], float]:
        """Measure students that differ until time is over; those taken while something else ran are left out."""
        draws = random_students(
            self.graph,
            self.channels,
            blocks(self.graph, channels=self.channels),
            quantum=quanta.quantum,
            seed=self.seed,
        )
        seen, repeats, disturbed = {structure_digest(self.teacher)}, 0, 0
        kept: list[MeasuredStudent] = []
        usual_ms = first.baseline_ms
        with self.progress.stage("measure students", MOST_STUDENTS) as stage:
            while len(kept) < MOST_STUDENTS and repeats < MOST_REPEATS and self._has_time(len(kept) + disturbed):
                graph = next(draws)
                digest = structure_digest(graph)
                repeats = repeats + 1 if digest in seen else 0
                if digest in seen:
                    continue
                seen.add(digest)
                found = self._measured(graph, quanta)
                if found is None:
                    continue
                usual_ms = min(usual_ms, found.baseline_ms)
                if found.baseline_ms > DISTURBED * usual_ms:
                    disturbed += 1
                    continue
                kept.append(found)
                stage.advance()
                if len(kept) % FRESH_EVERY == 0:
                    self.meter.close()
        self._require_quiet(len(kept), disturbed)
        times = sorted(one.baseline_ms for one in (first, *kept))
        return [one.student for one in kept], times[len(times) // 2]

    def _has_time(self, students: int) -> bool:
        return students < LEAST_STUDENTS or self.elapsed_s < self.budget_s

    def _measured(self, graph: Graph, quanta: ChannelSteps) -> MeasuredStudent | None:
        try:
            return self._measure(graph, quanta)
        except FailedMeasurementError as error:
            self.progress.warning(f"A student was left out: {error}")
            return None

    def _measure(self, graph: Graph, quanta: ChannelSteps) -> MeasuredStudent:
        return measure_student(
            self.meter, graph, self.baseline, shipping=self.shipping, quanta=quanta, seconds=STUDENT_S
        )

    def _require_quiet(self, kept: int, disturbed: int) -> None:
        if disturbed > kept:
            raise MeasureError(
                f"While {disturbed} of {kept + disturbed} students were measured, the model itself took over "
                f"{DISTURBED:g} times its usual latency: something else uses the machine. Stop it, or calibrate later."
            )

    def _table(
        self,
        students: Sequence[Student],
        quanta: ChannelSteps,
        teacher_ms: float,
        conditions: Conditions,
        cache: Path,
    ) -> tuple[StoredTable | None, Path | None]:
        if len(students) <= LEAST_STUDENTS:
            self.progress.warning(
                f"At a channel quantum of {quanta.quantum} the model has only {len(students) - 1} students that could "
                f"be measured, a table needs {LEAST_STUDENTS}: none was made."
            )
            return None, None
        with self.progress.stage("fit the table"):
            stored = StoredTable(
                key=table_key(conditions, self.meter.profile, self.precision, structure_digest(self.teacher)),
                table=fit_table(students, quanta=quanta, teacher_ms=teacher_ms),
                error=cross_validate(students, quanta=quanta, teacher_ms=teacher_ms),
                profile=self.meter.profile.name,
                made=_today(),
            )
            return stored, save_table(cache, stored)


def _require_cuttable(channels: Channels) -> None:
    if channels.free_groups:
        return
    why = next((group.why for group in channels.groups if group.why), "it has no layer with channels")
    raise ModelError(
        f"No channel of the model can be cut ({why}), so there are no widths to calibrate for; "
        "see deploycompress inspect."
    )


def _warn_of_conversions(profile: Profile, precision: Precision, progress: Progress) -> None:
    native = profile.precision.native
    if precision not in native:
        progress.warning(
            f"Profile {profile.name!r} does not list {precision} among what its device computes in by itself "
            f"({', '.join(native)}); it is measured all the same, and may be slower than those."
        )


def _warn_of_single(teacher: Graph, precision: Precision, progress: Progress) -> None:
    kept = kept_single(teacher, precision)
    if kept:
        name, why = next(iter(kept.items()))
        progress.warning(
            f"{len(kept)} of the model's nodes stay in single precision, and are measured so, such as {name!r}: {why}."
        )


def _require_device(conditions: Conditions, profile: Profile) -> None:
    if conditions.evidence is Evidence.PROXY:
        machine = conditions.machine
        raise MeasureError(
            f"The machine that answered ({machine.board or machine.cpu or machine.arch}) is not the device of profile "
            f"{profile.name!r} ({profile.device.title}), whose channel quanta may differ; reach the device with "
            "--target, or give --allow-proxy."
        )


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def _without_rule(graph: Graph) -> tuple[str, ...]:
    """Name the operators with weights that are no kind with a staircase."""
    wiring = wire(graph)
    known = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    weighted = (graph.nodes[index].op for index in range(len(graph.nodes)) if wiring.is_weighted(index))
    return tuple(sorted({op for op in weighted if op not in known}))
