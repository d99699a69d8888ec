"""Tables of the engines on one teacher, and what the differences between them are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from tools.search_benchmark_records import Record
from tools.search_benchmark_statistics import spread, unpaired
from tools.search_benchmark_suites import SUITES, Run

Records = Mapping[str, Record]
Value = Callable[[Record], float | None]

BASELINES = ("random", "uniform", "greedy", "evolution")
LEARNED = ("rl-pruner", "n2n", "joint")
HEAD = (
    *("engine", "best reward", "spread", "validation", "test", "latency ratio", "broke the limit", "evaluations"),
    "seconds",
)
TARGETS = {"joint": (BASELINES, False), "n2n": (("random",), True), "rl-pruner": (("random",), True)}


def best_reward(record: Record) -> float | None:
    """Give the reward of the run's winner."""
    return record.best[-1] if record.best else None


def comparison(suite: str, records: Records, under_way: Mapping[str, int]) -> str:
    """Lay out the engines of a suite, the best first."""
    engines = list(dict.fromkeys(job.engine for job in SUITES[suite]))
    means = {engine: fmean(known) for engine in engines if (known := values(suite, engine, records, best_reward))}
    order = sorted(engines, key=lambda engine: -means.get(engine, -2.0))
    rows = [_row(suite, engine, records) for engine in order]
    return "\n\n".join(filter(None, (table(HEAD, rows), missing(SUITES[suite], records, under_way))))


def values(suite: str, engine: str, records: Records, value: Value) -> list[float]:
    """Give what is known of an engine's seeds."""
    found = (value(records[job.name]) for job in _jobs(suite, engine) if job.name in records)
    return [one for one in found if one is not None]


def verdicts(suite: str, records: Records) -> str:
    """Say for each learned engine how it stands to each baseline, and whether the targets are met."""
    engines = {job.engine for job in SUITES[suite]}
    rows = []
    for engine in (one for one in LEARNED if one in engines):
        for baseline in (one for one in BASELINES if one in engines):
            cells = [_gap(suite, engine, baseline, records, value) for value in (best_reward, lambda one: one.test)]
            rows.append([f"{engine} - {baseline}", *cells])
    note = (
        "Difference of the means over seeds ± its standard error (Welch, seeds not paired). *Better* and *worse*: zero "
        "is outside of the 95 % interval of so few seeds; everything else is *no clear difference*."
    )
    targets = [_target(suite, one, *target, records) for one, target in TARGETS.items()]
    return "\n\n".join((table(("", "best reward", "test"), rows), note, "\n".join(filter(None, targets))))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table."""
    return "\n".join((_line(head), "|" + "---|" * len(head), *map(_line, rows)))


def missing(jobs: Sequence[Run], records: Records, under_way: Mapping[str, int]) -> str:
    """Name the runs that are not finished; empty when all are."""
    absent = [
        f"{job.name} ({under_way[job.name]} of {job.evaluations} evaluations)" if job.name in under_way else job.name
        for job in jobs
        if job.name not in records
    ]
    return f"Not finished, shown as '-', and left out of the means: {', '.join(absent)}." if absent else ""


def by_seed(found: Sequence[float | None], form: str) -> str:
    """Write a mean and, in brackets, what it is of."""
    known = [one for one in found if one is not None]
    if not known:
        return "-"
    each = ", ".join("-" if one is None else f"{one:{form}}" for one in found)
    return f"{fmean(known):{form}} ({each})"


def _row(suite: str, engine: str, records: Records) -> list[str]:
    runs = [records.get(job.name) for job in _jobs(suite, engine)]

    def cell(value: Value, form: str) -> str:
        return by_seed([None if run is None else value(run) for run in runs], form)

    deviation = spread(values(suite, engine, records, best_reward))
    return [
        engine,
        cell(best_reward, ".4f"),
        "-" if deviation is None else f"{deviation:.4f}",
        cell(lambda run: run.validation, ".3f"),
        cell(lambda run: run.test, ".4f"),
        cell(lambda run: run.ratio, ".3f"),
        cell(lambda run: run.broken, ".0%"),
        cell(lambda run: run.evaluations, ".0f"),
        cell(lambda run: run.seconds, ".0f"),
    ]


def _gap(suite: str, engine: str, baseline: str, records: Records, value: Value) -> str:
    found = unpaired(values(suite, engine, records, value), values(suite, baseline, records, value))
    return "-" if found is None else found.words


def _target(suite: str, engine: str, baselines: Sequence[str], is_strict: bool, records: Records) -> str:
    ours = values(suite, engine, records, best_reward)
    jobs = [job for job in SUITES[suite] if job.engine in (engine, *baselines)]
    against = {one: values(suite, one, records, best_reward) for one in baselines if _jobs(suite, one)}
    names = ", ".join(f"`{one}`" for one in against)
    goal = f"* Target: `{engine}` {'above' if is_strict else 'at least at'} {names} on the mean"
    if any(job.name not in records for job in jobs) or not ours or not all(against.values()):
        return f"{goal}: not known yet."
    gaps = {one: fmean(ours) - fmean(theirs) for one, theirs in against.items()}
    short = [f"`{one}` by {-gap:.4f}" for one, gap in gaps.items() if gap < 0 or (is_strict and gap == 0)]
    return f"{goal}: " + (f"missed, short of {', '.join(short)}." if short else "met.")


def _jobs(suite: str, engine: str) -> list[Run]:
    return [job for job in SUITES[suite] if job.engine == engine]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
