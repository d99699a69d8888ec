"""What is kept of every run of the search benchmark: enough for all its tables and figures when the traces are gone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from pydantic import TypeAdapter

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.search.fidelity import foreseen
from deploycompress.search.loop import climbs_of
from deploycompress.search.outcome import TraceEntry, is_feasible
from deploycompress.search.reward import DEGENERATE_REWARD, RewardSettings, meets, reward
from deploycompress.search.trace import read_trace
from deploycompress.store.trace_file import read_lines, write_whole
from tools.search_benchmark import LADDER, best_sample
from tools.search_benchmark_suites import SUITES, Run

SCHEMA = 1
DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What the evaluations of one update of a policy brought.

    Attributes:
        evaluations: how many; fewer than the rollouts where some were known.
        feasible: how many of them met the limits.
        measured: how many could be measured.
        reward: their mean, with -1 for those that broke a limit, however it was tolerated.
        accuracy: mean of the feasible ones, foreseen at the top of the ladder as the policy was told.
        untrained: their mean accuracy after recalibration alone.
        ratio: mean latency over the teacher's, of all that could be measured.
    """

    evaluations: int
    feasible: int
    measured: int
    reward: float
    accuracy: float | None
    untrained: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is kept of one finished run.

    Attributes:
        best: reward of the best feasible student until each evaluation, as `best_sample` chooses.
        rungs: of the ladder that the winner climbed.
        ratio: the winner's latency over the teacher's.
        broken: share of the evaluations that broke a limit or failed.
        seconds: of computing; students that another run had met before cost none.
        validation: accuracy of the winner after the final distillation.
        test: likewise, on the test images.
        updates: of N2N's policies; empty for the other engines.
    """

    best: tuple[float | None, ...]
    rungs: int
    ratio: float | None
    broken: float
    seconds: float
    validation: float | None
    test: float | None
    updates: tuple[Update, ...]

    @property
    def evaluations(self) -> int:
        """How many were used."""
        return len(self.best)


def settings_of(job: Run) -> RewardSettings:
    """Give the reward that a run went by."""
    return RewardSettings(constraints=tuple(map(parse_constraint, job.constraints)), **job.reward)


def record_of(job: Run, trace: Sequence[TraceEntry], result: Mapping[str, object]) -> Record:
    """Boil a run down to its record.

    Raises:
        UsageError: the result is not that of the trace.
    """
    settings = settings_of(job)
    leaders = [best_sample(trace[: count + 1], settings) for count in range(len(trace))]
    best = [None if one is None else reward(one.evaluation, settings) for one in leaders]
    last = best[-1] if best else None
    if result["evaluations"] != len(trace) or not _is_same(result.get("best_reward"), last):
        raise UsageError(
            f"Run {job.name} has {len(trace)} evaluations and the best reward {last}, but its result says "
            f"{result['evaluations']} and {result.get('best_reward')}; remove its files and run it again."
        )
    winner = leaders[-1] if leaders else None
    broken = [not meets(one.evaluation.metrics, settings.constraints) for one in trace]
    return Record(
        best=tuple(map(_rounded, best)),
        rungs=len(winner.evaluation.climb) if winner else 0,
        ratio=_rounded(winner.evaluation.metrics["latency_ratio"]) if winner else None,
        broken=round(fmean(broken), DIGITS) if broken else 0.0,
        seconds=round(sum(sum(one.evaluation.seconds.values()) for one in trace), 1),
        validation=_share(result, "validation"),
        test=_share(result, "test"),
        updates=_updates(trace, settings) if job.engine == "n2n" else (),
    )


def read_records(out: Path, kept: Path) -> tuple[dict[str, Record], dict[str, int]]:
    """Read every run from its trace, or, where that is gone, from the file of records.

    Args:
        out: folder of the traces; may be missing.
        kept: file of records; may be missing.

    Returns:
        Records of the finished runs by name, in the order of the suites, and of those under way the number of
        evaluations so far.
    """
    known = _read_kept(kept)
    records, under_way = dict[str, Record](), dict[str, int]()
    for job in (job for suite in SUITES.values() for job in suite):
        trace_path, result_path = out / f"{job.name}.trace.jsonl", out / f"{job.name}.result.json"
        if trace_path.exists() and result_path.exists():
            trace = read_trace(read_lines(trace_path))
            records[job.name] = record_of(job, trace, json.loads(result_path.read_text()))
        elif trace_path.exists():
            under_way[job.name] = len(read_lines(trace_path))
        elif job.name in known:
            records[job.name] = known[job.name]
    return records, under_way


def write_records(path: Path, records: Mapping[str, Record]) -> None:
    """Write the file of records, one line for each run."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(asdict(one), separators=(',', ':'))}" for name, one in sorted(records.items())
    ]
    write_whole(path, f'{{"schema":{SCHEMA},"runs":{{\n' + ",\n".join(lines) + "\n}}\n")


def _read_kept(path: Path) -> dict[str, Record]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    if content["schema"] != SCHEMA:
        raise UsageError(f"{path} is of schema {content['schema']}; expected {SCHEMA}: make it anew from the traces.")
    return TypeAdapter(dict[str, Record]).validate_python(content["runs"])


def _updates(trace: Sequence[TraceEntry], settings: RewardSettings) -> tuple[Update, ...]:
    steps = sorted({entry.proposal.step for entry in trace})
    places = {step: [index for index, one in enumerate(trace) if one.proposal.step == step] for step in steps}
    return tuple(_update(trace, places[step], settings) for step in steps)


def _update(trace: Sequence[TraceEntry], places: Sequence[int], settings: RewardSettings) -> Update:
    good = [index for index in places if is_feasible(trace[index].evaluation, settings)]
    rewards = [trace[index].reward if index in good else DEGENERATE_REWARD for index in places]
    climbs = [trace[index].evaluation.climb for index in good]
    told = [foreseen(trace[index].evaluation.climb, climbs_of(trace[:index], settings), LADDER) for index in good]
    measured = [trace[index].evaluation.metrics for index in places]
    ratios = [one["latency_ratio"] for one in measured if "latency_ratio" in one]
    return Update(
        evaluations=len(places),
        feasible=len(good),
        measured=len(ratios),
        reward=round(fmean(rewards), DIGITS),
        accuracy=_mean(told),
        untrained=_mean([climb[0] for climb in climbs]),
        ratio=_mean(ratios),
    )


def _is_same(told: object, found: float | None) -> bool:
    if found is None or not isinstance(told, float):
        return told is found
    return math.isclose(told, found, abs_tol=1e-9)


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), DIGITS) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _share(result: Mapping[str, object], name: str) -> float | None:
    value = result.get(name)
    return round(value, DIGITS) if isinstance(value, float) else None
