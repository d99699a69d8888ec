"""Our own plans: the best that our searches found under latency limits, from their traces."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploycompress.measuring.meter import Meter
from deploycompress.plan import Plan
from deploycompress.profile_files import load_profile
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.trace import read_trace
from deploycompress.store.trace_file import read_lines
from tools import search_benchmark
from tools.compare_peers_bench import TEACHER
from tools.search_benchmark_suites import Run

LIMITS = (0.79, 0.72, 0.5, 0.33)
ENGINES = ("greedy", "joint")
EVALUATIONS = 80
NEAR = 0.85  # a student much faster than a limit is no answer to it
MEMORY = f"{TEACHER}.memory.jsonl"


def search(out: Path, limits: Sequence[float], engine: str) -> None:
    """Search under each limit, from where it was left; what was judged before in the search benchmark costs nothing."""
    out.mkdir(parents=True, exist_ok=True)
    known = search_benchmark.DEFAULT_OUT / MEMORY
    if known.exists() and not (out / MEMORY).exists():
        shutil.copy(known, out / MEMORY)
    with Meter(load_profile("x86")) as meter:
        bench = search_benchmark.Bench(TEACHER, out, meter)
        environment = bench.environment()
        space = bench.space(environment)
        for limit in limits:
            job = Run(
                name=f"{TEACHER}-{engine}-{limit}",
                teacher=TEACHER,
                engine=engine,
                seed=0,
                evaluations=EVALUATIONS,
                constraints=(f"latency_ratio <= {limit}",),
                distils=False,
            )
            search_benchmark.run_one(bench, environment, space, job, out)


def found_plans(folders: Iterable[Path], limits: Sequence[float] = LIMITS) -> dict[str, Plan]:
    """Take for each limit the best plan of all traces; a limit near which there is none is left out.

    Args:
        folders: with `resnet56-ENGINE-*.trace.jsonl` of our engines.
        limits: on the latency ratio.
    """
    traces = {
        engine: [
            entry
            for folder in folders
            for path in sorted(folder.glob(f"{TEACHER}-{engine}-*.trace.jsonl"))
            for entry in read_trace(read_lines(path))
        ]
        for engine in ENGINES
    }
    judged = [entry for trace in traces.values() for entry in trace if entry.evaluation.climb]
    plans = {}
    for limit in limits:
        # Greedy takes the cheapest choice first, whatever the limit: what it passes is what it ends with elsewhere.
        best = best_under(judged, limit) or best_under(traces["greedy"], limit)
        if best is not None:
            plans[f"ours-{limit}"] = best.plan
    return plans


def best_under(entries: Iterable[TraceEntry], limit: float) -> TraceEntry | None:
    """Choose among the students that just meet a limit on the latency ratio: the most accurate of the longest trained.

    Where none was trained it is the one nearest to the limit; none where there is no student near it.
    """
    near = [
        entry
        for entry in entries
        if not entry.evaluation.is_degenerate
        and NEAR * limit < entry.evaluation.metrics.get("latency_ratio", 0.0) <= limit
    ]
    return max(near, key=_standing, default=None)


def _standing(entry: TraceEntry) -> tuple[int, float]:
    climb = entry.evaluation.climb
    return len(climb), climb[-1] if climb else entry.evaluation.metrics["latency_ratio"]
