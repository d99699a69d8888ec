"""Compare with torch-pruning, uniform pruning and hand-made siblings on ResNet-56/CIFAR-10, images seen being equal.

    python -m tools.compare_peers search [--limits 0.79 0.72]   our plans, where no trace nor --plan gives them
    python -m tools.compare_peers cut                            makes every student, untrained
    python -m tools.compare_peers latency                        all of them interleaved, in several processes
    python -m tools.compare_peers train --images 100000          each in turn, the same distillation for everybody
    python -m tools.compare_peers table --images 100000          writes docs/benchmarks.md and its figures

Everything is kept in the folder, one JSON file for each result, so that what was killed goes on and what is deleted is
made anew. Needs torch-pruning (extra `peers`), and the data and weights of ../shared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from deploycompress.capturing.capture import capture
from deploycompress.errors import DeployCompressError, UsageError
from deploycompress.execute.structure import structure_digest
from deploycompress.graph import Graph
from deploycompress.measuring import static
from deploycompress.surgery.shipped import shipped_form
from tools import search_benchmark
from tools.compare_peers_bench import Bench, commit
from tools.compare_peers_entrants import Entrant, entrants, read_plans
from tools.compare_peers_latency import SECONDS_EACH, measure_all
from tools.compare_peers_records import (
    DEFAULT_OUT,
    LATENCIES,
    Cut,
    cut_path,
    read_cut,
    trained_path,
    write_record,
)
from tools.compare_peers_search import ENGINES, LIMITS, found_plans, search
from tools.compare_peers_train import RECIPES, train

IMAGES = 100_000


def main() -> int:
    """Read the command line and do one of the commands."""
    asked = _parser().parse_args()
    torch.set_num_threads(asked.threads)
    try:
        if asked.command == "search":
            search(asked.out, asked.limits, asked.engine)
        elif asked.command == "table":
            from tools.compare_peers_page import write_page

            write_page(asked.out, images=asked.images)
        else:
            plans = {**found_plans((asked.out, search_benchmark.DEFAULT_OUT)), **read_plans(asked.plan)}
            competitors = _chosen(entrants(plans), asked.only)
            if asked.command == "cut":
                cut_all(asked.out, Bench(), competitors)
            elif asked.command == "latency":
                measure(asked.out, Bench(), competitors, seconds_each=asked.seconds)
            else:
                train_all(asked.out, Bench(), competitors, images=asked.images, recipe=asked.recipe)
    except DeployCompressError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def cut_all(out: Path, bench: Bench, competitors: Sequence[Entrant]) -> None:
    """Make the students that are not there yet, and write down what they cost by arithmetic."""
    out.mkdir(parents=True, exist_ok=True)
    for entrant in competitors:
        path = cut_path(out, entrant.name)
        if not path.exists():
            started = time.monotonic()
            graph = entrant.make(bench)
            graph.save(path.with_suffix(".onnx"))
            write_record(path, _cut_record(entrant, graph, bench, time.monotonic() - started))
        record = read_cut(path)
        print(f"{record.name}: {record.mac_reduction:.2f}x fewer MACs, {record.params} parameters", flush=True)


def measure(out: Path, bench: Bench, competitors: Sequence[Entrant], *, seconds_each: float) -> None:
    """Measure the students that there are: as they ship where they are trained, else as they would."""
    shipped: dict[str, Graph] = {}
    for entrant in competitors:
        trained = sorted(out.glob(f"{entrant.name}.*.onnx"))
        for path in trained:
            shipped[path.name] = shipped_form(capture(path))
    found = measure_all(bench.baseline, shipped, seconds_each=seconds_each)
    write_record(out / LATENCIES, found)
    for name, graph in shipped.items():
        one = found.of[structure_digest(graph)]
        note = "" if one.is_clear else ", too wide to be shown: measure again when the machine is quiet"
        print(f"{name}: ratio {one.ratio:.3f} ({one.low:.3f} to {one.high:.3f}), {one.median_ms:.3f} ms{note}")


def train_all(out: Path, bench: Bench, competitors: Sequence[Entrant], *, images: int, recipe: str) -> None:
    """Train the students that are not trained yet, one after the other."""
    for entrant in competitors:
        path = trained_path(out, entrant.name, images=images, recipe=recipe)
        if path.exists() or (RECIPES[recipe].only_ours and entrant.family != "ours"):
            continue
        cut_all(out, bench, [entrant])
        cut = capture(cut_path(out, entrant.name).with_suffix(".onnx"))
        record = train(bench, entrant, cut, path, images=images, recipe=recipe)
        write_record(path, record)
        print(f"{record.name}: test {record.test:.4f}, validation {record.validation:.4f}", flush=True)


def _cut_record(entrant: Entrant, graph: Graph, bench: Bench, seconds: float) -> Cut:
    shipped = shipped_form(graph)
    return Cut(
        name=entrant.name,
        family=entrant.family,
        made=entrant.made,
        structure=structure_digest(shipped),
        macs=static.macs(shipped),
        mac_reduction=static.macs(bench.baseline) / static.macs(shipped),
        params=static.params(shipped),
        seconds=seconds,
        commit=commit(),
    )


def _chosen(competitors: Sequence[Entrant], only: Sequence[str]) -> tuple[Entrant, ...]:
    """Keep those named, in the order in which they are named; all of them when none is."""
    if not only:
        return tuple(competitors)
    known = {entrant.name: entrant for entrant in competitors}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise UsageError(f"There is no competitor {unknown[0]!r}; there are {', '.join(known)}.")
    return tuple(known[name] for name in only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("search", "cut", "latency", "train", "table"))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="competitors, in the order to train them")
    parser.add_argument("--plan", action="append", default=[], metavar="NAME=PATH", help="a plan of ours, or a result")
    parser.add_argument("--images", type=int, default=IMAGES, help="training images that each competitor sees")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="plain")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--limits", type=float, nargs="+", default=LIMITS, help="latency ratios to search under")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--seconds", type=float, default=SECONDS_EACH, help="of measuring, for each network")
    return parser


if __name__ == "__main__":
    sys.exit(main())
