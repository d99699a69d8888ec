"""A model held against limits and against an earlier model: the record behind `deploycompress check`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycompress.constraint import Constraint, parse_constraint
from deploycompress.errors import UsageError
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter, trusted_starts
from deploycompress.pipeline.boards import on_first_board
from deploycompress.pipeline.figures import describe_conditions, describe_latency, ends, remarks
from deploycompress.pipeline.gate import (
    BROKEN,
    MET,
    THOROUGH_STARTS,
    THOROUGH_TIME,
    Row,
    exit_code,
    judge,
    until_conclusive,
)
from deploycompress.pipeline.reading import Reading, take_readings
from deploycompress.pipeline.regression import (
    COUNTED,
    STORED,
    Allowance,
    Baseline,
    judge_growth,
    parse_allowance,
    read_baseline,
    recorded,
    refuse_growth,
    why_incomparable,
)
from deploycompress.pipeline.subject import Loading, Subject, read_subject
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.report.check_table import left_out_sentence
from deploycompress.report.progress import Progress, SilentProgress
from deploycompress.verdict import Verdict

SCHEMA = 1

Document = dict[str, Any]  # Any: JSON

_NEEDS_TEACHER = frozenset({"latency_ratio", "params_ratio", "macs_ratio", "file_ratio", "activation_peak_ratio"})
_COUNTS = frozenset({"params", "params_ratio", "macs", "macs_ratio"})
_DRIFT = (
    "the baseline's figures are held as they were recorded, and machines drift; with the earlier model's file itself "
    "as --baseline both models would be measured in turns"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What verdicts come from.

    Attributes:
        reading: of the model, beside the teacher where there is one.
        measurements: all that were judged by.
    """

    reading: Reading
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """Everything that is held against everything.

    Attributes:
        model: what is judged.
        teacher: what ratios refer to; None without.
        older: the earlier model, to be measured again; None when it is not at hand.
        baseline: the earlier model's record; None without.
        constraints: limits to hold.
        allowances: growth that is allowed.
        allow_proxy: whether absolute limits are judged on another machine than the profile's device.
        starts: fresh processes of a measurement.
        max_seconds: of a measurement.
    """

    model: Subject
    teacher: Subject | None
    older: Subject | None
    baseline: Baseline | None
    constraints: tuple[Constraint, ...]
    allowances: tuple[Allowance, ...]
    allow_proxy: bool
    starts: int
    max_seconds: float | None

    @property
    def reads_counts(self) -> bool:
        """Whether parameters or multiply-accumulates are asked for."""
        in_rows = any(row.metrics & _COUNTS for row in self.constraints)
        return in_rows or any(allowance.quantity in {"params", "macs"} for allowance in self.allowances)

    @property
    def reads_rss(self) -> bool:
        """Whether resident memory is asked for."""
        in_rows = any("peak_rss_mib" in row.metrics for row in self.constraints)
        return in_rows or any(allowance.quantity == "peak_rss" for allowance in self.allowances)


def check(
    model: str | os.PathLike[str],
    *,
    profile: str | os.PathLike[str] | Profile,
    constraints: Sequence[str] = (),
    against: str | os.PathLike[str] | None = None,
    baseline: str | os.PathLike[str] | None = None,
    max_regression: Sequence[str] = (),
    allow_proxy: bool = False,
    targets: Sequence[str] = (),
    starts: int | None = None,
    max_seconds: float | None = None,
    input_shape: tuple[int, ...] | None = None,
    arch: str | None = None,
    trust: bool = False,
    allow: Sequence[str] = (),
    progress: Progress | None = None,
) -> Document:
    """Measure a model and judge it by limits, and by how much it may be worse than an earlier one.

    A verdict needs the whole interval on one side of the limit. Where it is on both, the model is measured once more,
    with more processes and more time, and what is open then stays inconclusive.

    Args:
        model: the file to judge.
        profile: the target device, whose constraints hold where none are given.
        constraints: limits such as `latency_ms <= 8`.
        against: the teacher, for limits on ratios.
        baseline: an earlier result.json or model file.
        max_regression: such as `latency=5%`: how much worse than the baseline is allowed.
        allow_proxy: judge absolute limits by another machine's measurements, too.
        targets: ways to the board; the first that answers measures, none for this machine.
        starts: number of fresh processes of a measurement.
        max_seconds: when enough is enough, over all processes; None for the profile's.
        input_shape: sizes of the input's axes, the batch first, where a file does not say.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in a file may run.
        allow: `package.module:Class` entries that a pickled module may use.
        progress: who is told of the stages.

    Returns:
        JSON of schema 1: `verdict`, `exit_code`, the rows of `constraints` as `gate.make_row` makes them, `not_judged`
        with each limit of the profile that was left out and its `reason`, the model's figures under `student` as
        result.json has them, and where and how it was measured.

    Raises:
        MeasureError: the device is not available, or a model could not be measured there.
        ModelError: a file is no model, or not fit for the profile's runtime.
        UsageError: there is nothing to judge, or a limit cannot be judged with what was given.

    Examples:
        >>> import deploycompress, pathlib, tempfile, torch
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.onnx"
        >>> deploycompress.capture(torch.nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8)).save(path)
        >>> document = deploycompress.check(
        ...     path, profile="x86", constraints=["params <= 200"], starts=1, max_seconds=0.1
        ... )
        >>> document["verdict"], document["constraints"][0]["value"]
        ('fail', 224.0)
    """
    device = profile if isinstance(profile, Profile) else load_profile(profile)
    listener = progress or SilentProgress()
    allowances = tuple(parse_allowance(text) for text in max_regression)
    if bool(allowances) != (baseline is not None):
        raise UsageError(
            "--baseline and --max-regression go together: --baseline result.json --max-regression latency=5%."
        )
    rows, unread = _readable(device, [parse_constraint(text) for text in constraints], against, allowances)
    for one in unread:
        listener.warning(left_out_sentence(one))
    loading = Loading(input_shape=input_shape, arch=arch, trust=trust, allow=tuple(allow))
    beside = Loading(input_shape=input_shape)
    earlier = None if baseline is None else read_baseline(Path(baseline))
    older = None if earlier is None or earlier.model is None else read_subject(earlier.model, device, beside)
    gate = _Gate(
        model=read_subject(Path(model), device, loading),
        teacher=None if against is None else read_subject(Path(against), device, beside),
        older=older, baseline=earlier, constraints=rows, allowances=allowances, allow_proxy=allow_proxy,
        starts=starts or trusted_starts(device), max_seconds=max_seconds,
    )  # fmt: skip

    def work(meter: Meter) -> Document:
        def take(thorough: bool) -> tuple[_Held, list[Row]]:
            with listener.stage("measure once more, thoroughly" if thorough else f"measure on {device.name}"):
                return _measure_and_judge(meter, gate, thorough=thorough)

        found, judged = until_conclusive(take)
        said = remarks(found.measurements, power_mode=device.device.power_mode)
        return _document(gate, found.reading, judged, unread, said)

    return on_first_board(device, targets, work, listener)


def _readable(
    profile: Profile, asked: Sequence[Constraint], against: object, allowances: Sequence[Allowance]
) -> tuple[tuple[Constraint, ...], list[Document]]:
    """Give the limits to judge, and each of the profile's that nothing reads, with the reason."""
    kept: list[Constraint] = []
    unread: list[Document] = []
    for row in asked or profile.constraints:
        why = _why_unreadable(row, has_teacher=against is not None)
        if why and (asked or not allowances):
            raise UsageError(f"The limit {row.expression!r} cannot be judged: {why}.")
        if why:
            unread.append({"expression": row.expression, "reason": why})
        else:
            kept.append(row)
    if not kept and not allowances:
        raise UsageError(f"There is nothing to judge: profile {profile.name!r} has no limits; give --constraint.")
    return tuple(kept), unread


def _why_unreadable(row: Constraint, *, has_teacher: bool) -> str:
    if "accuracy" in row.metrics:
        return "accuracy needs data, and 'check' reads none; leave it out"
    if row.metrics & _NEEDS_TEACHER and not has_teacher:
        return f"{', '.join(sorted(row.metrics & _NEEDS_TEACHER))} needs the teacher; give it with --against"
    return ""


def _measure_and_judge(meter: Meter, gate: _Gate, *, thorough: bool) -> tuple[_Held, list[Row]]:
    """Measure beside the teacher, and in a second run beside the earlier model where both are given."""
    partner = gate.teacher or gate.older
    reading, reference = _read(meter, gate, partner, thorough=thorough)
    metrics = reading.metrics(None if gate.teacher is None else reference)
    rows = judge(gate.constraints, metrics, reading.measurement, allow_proxy=gate.allow_proxy, bounds=reading.bounds)
    held, earlier = reading, reference
    if gate.allowances and gate.older is not None and partner is not gate.older:
        held, earlier = _read(meter, gate, gate.older, thorough=thorough)
    rows += [_growth(gate, allowance, held, earlier) for allowance in gate.allowances]
    return _Held(reading=reading, measurements=(reading.measurement, held.measurement)), rows


def _read(meter: Meter, gate: _Gate, partner: Subject | None, *, thorough: bool) -> tuple[Reading, Reading | None]:
    """Measure the model in turns with its partner, which is the ratio's denominator."""
    usual = meter.profile.measure.max_seconds if gate.max_seconds is None else gate.max_seconds
    first, *others = take_readings(
        meter,
        [gate.model] if partner is None else [partner, gate.model],
        starts=gate.starts * (THOROUGH_STARTS if thorough else 1),
        max_seconds=THOROUGH_TIME * usual if thorough else gate.max_seconds,
        counts=gate.reads_counts,
        rss=gate.reads_rss,
    )
    return (others[0], first) if others else (first, None)


def _growth(gate: _Gate, allowance: Allowance, held: Reading, earlier: Reading | None) -> Row:
    """Judge one quantity against the earlier model, or else against what was recorded of it."""
    quantity = allowance.quantity
    now, evidence = held.figure(quantity), held.evidence(quantity)
    if gate.older is not None and earlier is not None:
        found = held.measurement
        ratio = (found.ratio, found.ratio_interval()) if quantity == "latency" else None
        return judge_growth(allowance, now, earlier.figure(quantity), ratio=ratio, evidence=evidence)
    record = gate.baseline.record if gate.baseline is not None else None
    then = None if record is None else recorded(record, quantity)
    if record is None or then is None:
        return refuse_growth(allowance, f"the baseline does not record {quantity}", evidence=evidence)
    reason = "" if quantity in COUNTED else why_incomparable(record, held.measurement.conditions)
    if reason:
        return refuse_growth(allowance, reason, evidence=evidence)
    return judge_growth(allowance, now, then, ratio=None, evidence=evidence)


def _document(
    gate: _Gate, reading: Reading, rows: list[Row], unread: Sequence[Document], said: Sequence[str]
) -> Document:
    code = exit_code(rows)
    found = reading.measurement
    verdict = {MET: Verdict.PASS, BROKEN: Verdict.FAIL}.get(code, Verdict.INCONCLUSIVE)
    is_recorded = gate.baseline is not None and gate.older is None
    return {
        "schema": SCHEMA,
        "model": gate.model.name,
        "sha256": found.model,
        "teacher": None if gate.teacher is None else gate.teacher.name,
        "baseline": None if gate.baseline is None else gate.baseline.name,
        "baseline_measured_again": gate.older is not None,
        "verdict": str(verdict),
        "exit_code": code,
        **describe_conditions(found.conditions),
        "remarks": [*map(left_out_sentence, unread), *([_DRIFT] if is_recorded else []), *said],
        "constraints": rows,
        "not_judged": list(unread),
        "student": _student(reading),
        "ratio": None
        if gate.teacher is None
        else {"latency": found.ratio, "latency_interval": ends(found.ratio_interval())},
    }


def _student(reading: Reading) -> Document:
    found, memory = reading.measurement, reading.peak_rss_interval
    return {
        "latency_ms": describe_latency(found),
        "params": reading.counts.get("params"),
        "macs": reading.counts.get("macs"),
        "weights_bytes": found.weights_bytes,
        "file_bytes": found.file_bytes,
        "activation_peak_bytes": found.activation_peak_bytes,
        "peak_rss_bytes": reading.peak_rss_bytes,
        "peak_rss_interval_bytes": None if memory is None else ends(memory),
        "evidence": {name: str(reading.evidence(quantity)) for quantity, name in STORED.items()},
    }
