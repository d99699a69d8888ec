"""Compare the search engines on the CIFAR-10 ResNets: same evaluations, same validation split, same number of them.

    python -m tools.search_benchmark run SUITE [--worker 0/2] [--out FOLDER]    resumes where it was left
    python -m tools.search_benchmark tables [--out FOLDER]                      writes docs/search.md and its figures

Every run leaves a trace and a result in the folder. What was measured and judged once is remembered for all runs, by
the digest of the graph, so engines that meet the same student see the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.constraint import parse_constraint
from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.measuring.meter import Meter
from deploycompress.network.module import to_torch
from deploycompress.pipeline.space import build_space, with_savings
from deploycompress.pipeline.task import read_data
from deploycompress.profile_files import load_profile
from deploycompress.search import load_engine
from deploycompress.search.engine import Kind
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.outcome import TraceEntry, is_feasible
from deploycompress.search.reward import RewardSettings, reward
from deploycompress.search.space import Space
from deploycompress.search.trace import read_trace, to_line
from deploycompress.store.memory import Memory
from deploycompress.store.trace_file import append_line, read_lines, write_whole
from deploycompress.surgery.blocks import blocks
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import evaluation_compute
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.generator import make_generator
from tools import cifar_resnet
from tools.search_benchmark_suites import SUITES, Run

SHARED = Path(__file__).parents[2] / "shared"
DEFAULT_OUT = Path("build/search-benchmark")
VALIDATION_IMAGES = 1000
LADDER = Ladder(steps=(0, 40, 120), share=0.25)
SETTINGS = LocalSettings(recalibration_images=512, measure_seconds=0.3)
FINAL = DistilSettings(steps=300, batch_size=64, peak_rate=0.01, checks=1)
FINAL_STEPS = {"resnet20": 300, "resnet56": 150}


class Bench:
    """One teacher with everything that its runs share."""

    def __init__(self, teacher: str, out: Path, meter: Meter) -> None:
        network = getattr(cifar_resnet, teacher)()
        network.load_state_dict(torch.load(SHARED / "models" / f"{teacher}_cifar10.state_dict.pt"))
        self.graph = capture(network.eval(), input_shape=(1, 3, 32, 32))
        self.channels, self.offered = trace_channels(self.graph), blocks(self.graph)
        self.task, self.test = _read_data(self.graph)
        self._meter, self._memory = meter, Memory()
        self._memory.keep_in(out / f"{teacher}.memory.jsonl")
        self._teacher = teacher

    def environment(self) -> LocalEnvironment:
        """Make the environment of a run."""
        made = LocalEnvironment(
            self.graph, self.channels, self.offered,
            task=self.task, meter=self._meter, settings=SETTINGS, memory=self._memory,
        )  # fmt: skip
        made.advance_settings = None
        return made

    def space(self, environment: LocalEnvironment) -> Space:
        """List what may go, with its table."""
        quanta = load_profile("x86").channels
        return with_savings(build_space(self.graph, self.channels, self.offered, quanta=quanta), environment.measure)

    def distilled(self, environment: LocalEnvironment, best: TraceEntry) -> tuple[float, float]:
        """Distil a student shortly, and give its accuracy on the validation and on the test images."""
        settings = replace(FINAL, steps=FINAL_STEPS[self._teacher])
        key = f"final:{best.key}:{settings.steps}:{FINAL.batch_size}:{FINAL.peak_rate}"
        if key not in self._memory:
            module = to_torch(environment.student(best.plan))
            environment.recalibrate(module)
            distil(module, environment.guide, self.task, settings=settings, generator=make_generator(0))
            taken = [
                accuracy(module, data, self.task.normalization, compute=evaluation_compute())
                for data in (self.task.validation, self.test)
            ]
            self._memory.add(key, {"validation": taken[0], "test": taken[1]})
        return self._memory[key]["validation"], self._memory[key]["test"]


def _read_data(graph: object) -> tuple[TaskData, Dataset]:
    files = [str(SHARED / "data" / "cifar10" / f"train-{index}.npz") for index in range(5)]
    test = str(SHARED / "data" / "cifar10" / "test.npz")
    task, held_out = read_data(graph, files, test, normalize=None, seed=0)  # type: ignore[arg-type]
    if held_out is None:
        raise FileNotFoundError(test)
    return replace(task, validation=task.validation.take(np.arange(VALIDATION_IMAGES))), held_out


def run_one(bench: Bench, environment: LocalEnvironment, space: Space, job: Run, out: Path) -> None:
    """Search once, from where it was left, and write the result."""
    engine = load_engine(job.engine)
    rows = tuple(parse_constraint(text) for text in job.constraints)
    reward_settings = RewardSettings(constraints=rows, **job.reward)
    trace_path, state_path = out / f"{job.name}.trace.jsonl", out / f"{job.name}.state.json"
    settings = engine.Settings(**job.settings_with(out))  # type: ignore[attr-defined]
    if state_path.exists():
        count, text = state_path.read_text().split("\n", 1)
        state, trace = engine.restore(text), read_trace(read_lines(trace_path)[: int(count)])
        write_whole(trace_path, "".join(f"{line}\n" for line in read_lines(trace_path)[: int(count)]))
    else:
        trace_path.unlink(missing_ok=True)
        state = engine.init(space, reward_settings, settings=settings, evaluations=job.evaluations, seed=job.seed)
        trace = ()
    done = len(trace)

    def keep(entry: TraceEntry, after: object) -> None:
        nonlocal done
        append_line(trace_path, to_line(done, entry))
        done += 1
        write_whole(state_path, f"{done}\n{after.to_json()}")  # type: ignore[attr-defined]

    outcome = run(
        engine, state, environment, ladder=Ladder(steps=LADDER.steps[: job.rungs], share=LADDER.share),
        should_stop=lambda: False, on_evaluation=keep, max_evaluations=job.evaluations, trace=trace,
    )  # fmt: skip
    result: dict[str, object] = {"run": job.name, "evaluations": len(outcome.trace), "reason": outcome.reason}
    best = best_sample(outcome.trace, reward_settings)
    if best is not None:
        result["best_reward"] = reward(best.evaluation, reward_settings)
        result["best_metrics"] = dict(best.evaluation.metrics)
        result["rungs"] = len(best.evaluation.climb)
        if job.distils:
            result["validation"], result["test"] = bench.distilled(environment, best)
    if job.saves_policy:
        from deploycompress.search.n2n import save_policies

        save_policies(out / f"{job.name}.policy.safetensors", engine.policies_of(outcome.state))  # type: ignore[attr-defined]
    write_whole(out / f"{job.name}.result.json", json.dumps(result, indent=1))


def best_sample(trace: Sequence[TraceEntry], settings: RewardSettings) -> TraceEntry | None:
    """Choose the student with the best reward among the feasible ones that climbed highest."""
    feasible = [one for one in trace if one.proposal.kind is Kind.SAMPLE and is_feasible(one.evaluation, settings)]
    top = max((len(one.evaluation.climb) for one in feasible), default=0)
    highest = [one for one in feasible if len(one.evaluation.climb) == top]
    return max(highest, key=lambda one: reward(one.evaluation, settings), default=None)


def _claimed(jobs: Sequence[Run], out: Path) -> Iterator[Run]:
    """Take the runs that nobody has finished or is at work on."""
    for job in jobs:
        claim = out / f"{job.name}.claim"
        if (out / f"{job.name}.result.json").exists() or any(not (out / need).exists() for need in job.needs):
            continue
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        try:
            yield job
        finally:
            claim.unlink(missing_ok=True)


def run_suite(suite: str, out: Path, *, only: str, skip: str) -> None:
    """Carry out the runs of a suite that are not done yet."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = [job for job in SUITES[suite] if only in job.name and (skip == "-" or skip not in job.name)]
    benches: dict[str, tuple[Bench, LocalEnvironment, Space]] = {}
    with Meter(load_profile("x86")) as meter:
        for job in _claimed(jobs, out):
            if job.teacher not in benches:
                bench = Bench(job.teacher, out, meter)
                environment = bench.environment()
                benches[job.teacher] = bench, environment, bench.space(environment)
            bench, _, space = benches[job.teacher]
            environment = bench.environment() if job.engine == "rl-pruner" else benches[job.teacher][1]
            run_one(bench, environment, space, job, out)
            print((out / f"{job.name}.result.json").read_text().replace("\n", ""), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "tables"))
    parser.add_argument("suite", nargs="?", choices=sorted(SUITES))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--only", default="", help="part of the names of the runs to carry out")
    parser.add_argument("--skip", default="-", help="part of the names of the runs to leave out")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.command == "run":
        run_suite(asked.suite, asked.out, only=asked.only, skip=asked.skip)
    else:
        from tools.search_benchmark_tables import write_tables

        write_tables(asked.out)


if __name__ == "__main__":
    main()
