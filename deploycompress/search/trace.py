"""A search's evaluations as lines of JSON, one each, for people to plot and for the search to go on from.

A line is an object with these keys:
    index: number of the evaluation, from 0.
    plan: what surgery did, with `schema`, `remove`, `keep` and `kernels`.
    reward: what the policy learnt from it.
    accuracy: share of validation samples classified right, or what the run takes instead (`score.name` in result.json:
        agreement with the teacher, how well outputs match, the user's own score relative to the teacher's); null when
        it was not taken.
    measurement: the other metrics by name, see `constraint.METRICS`.
    seconds: `total`, and `by_stage`.
    key: names the student; the same key is the same graph.
    proposal: what was asked, with `candidate`, `kind`, `progress`, `step` and `needs_accuracy`.
    climb: accuracies after more and more training; empty where none was taken on the way.
    failure: why the student could not be evaluated; empty when it could.
    teacher_accuracy: of the teacher, on the same validation split; 1 where students are held against the teacher.
A quantity that is not finite is written as the text `nan`, `inf` or `-inf`, which every reader of JSON can read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from deploycompress.errors import PlanError, UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Proposal
from deploycompress.search.outcome import TraceEntry

NOT_FINITE = frozenset({"nan", "inf", "-inf"})


def to_line(index: int, entry: TraceEntry) -> str:
    """Write an evaluation as one line, without a line break at its end.

    Args:
        index: number of the evaluation, from 0.
        entry: the evaluation.
    """
    evaluation = entry.evaluation
    metrics = {name: _written(value) for name, value in evaluation.metrics.items()}
    by_stage = {name: _written(value) for name, value in evaluation.seconds.items()}
    record = {
        "index": index,
        "plan": json.loads(entry.plan.to_json()),
        "reward": _written(entry.reward),
        "accuracy": metrics.pop("accuracy", None),
        "measurement": metrics,
        "seconds": {"total": _written(sum(evaluation.seconds.values())), "by_stage": by_stage},
        "key": entry.key,
        "proposal": _proposal(entry.proposal),
        "climb": [_written(value) for value in evaluation.climb],
        "failure": evaluation.failure,
        "teacher_accuracy": _written(evaluation.teacher_accuracy),
    }
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def from_line(text: str, number: int = 1) -> TraceEntry:
    """Read a line that `to_line` wrote.

    Args:
        text: the line.
        number: which line of its file it is, from 1, for the message.

    Raises:
        UsageError: the text is no such line.
    """
    return _read(text, number)[1]


def read_trace(lines: Sequence[str]) -> tuple[TraceEntry, ...]:
    """Read all evaluations of a search, in order.

    Args:
        lines: as `to_line` wrote them, without a half-written last one.

    Raises:
        UsageError: a line is damaged, missing, or twice there.
    """
    entries = []
    for position, text in enumerate(lines):
        index, entry = _read(text, position + 1)
        if index != position:
            raise UsageError(
                f"Line {position + 1} of the trace is evaluation {index}, expected {position}: "
                "a line is missing or twice there; start the search anew."
            )
        entries.append(entry)
    return tuple(entries)


def _from_text(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    return float(value) if isinstance(value, str) and value in NOT_FINITE else value


Number = Annotated[float, BeforeValidator(_from_text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seconds:
    total: Number
    by_stage: Mapping[str, Number]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    index: int
    plan: Mapping[str, Any]  # Any: a plan checks itself
    reward: Number
    accuracy: Number | None
    measurement: Mapping[str, Number]
    seconds: _Seconds
    key: str
    proposal: Proposal
    climb: tuple[Number, ...]
    failure: str
    teacher_accuracy: Number


def _read(text: str, number: int) -> tuple[int, TraceEntry]:
    try:
        line = _adapter().validate_json(text, strict=True)
        unknown = sorted(json.loads(text).keys() - {field.name for field in fields(_Line)})
        plan = Plan.from_json(json.dumps(line.plan))
    except (ValidationError, PlanError) as error:
        raise UsageError(
            f"Line {number} of the trace is damaged: {_short(error)}; expected a line as a search writes it."
        ) from error
    if unknown:
        raise UsageError(f"Line {number} of the trace has the unknown key {unknown[0]!r}; another version wrote it.")
    return line.index, TraceEntry(
        key=line.key, proposal=line.proposal, plan=plan, evaluation=_evaluation(line), reward=line.reward
    )


def _evaluation(line: _Line) -> Evaluation:
    taken = {} if line.accuracy is None else {"accuracy": line.accuracy}
    return Evaluation(
        metrics={**line.measurement, **taken},
        teacher_accuracy=line.teacher_accuracy,
        failure=line.failure,
        seconds=dict(line.seconds.by_stage),
        climb=line.climb,
    )


def _proposal(proposal: Proposal) -> Mapping[str, object]:
    return {
        "candidate": json.loads(proposal.candidate.to_json()),
        "kind": proposal.kind,
        "progress": proposal.progress,
        "step": proposal.step,
        "needs_accuracy": proposal.needs_accuracy,
    }


def _written(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _short(error: ValidationError | PlanError) -> str:
    if isinstance(error, PlanError):
        return str(error).rstrip(".")
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


@lru_cache
def _adapter() -> TypeAdapter[_Line]:
    return TypeAdapter(_Line)
