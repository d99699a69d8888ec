"""The search benchmark's tables say what the traces say, and can be made again when these are gone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.space import Candidate
from deploycompress.search.trace import to_line
from tools.marked_page import filled, marked
from tools.search_benchmark_comparison import comparison, verdicts
from tools.search_benchmark_inside import reward_over, transfer
from tools.search_benchmark_records import Record, read_records, record_of, write_records
from tools.search_benchmark_statistics import paired, unpaired
from tools.search_benchmark_suites import SUITES, Run
from tools.search_benchmark_tables import write_tables

pytest.importorskip("matplotlib")


JOB = next(job for job in SUITES["resnet20"] if job.name == "resnet20-n2n-0")


def _entry(ratio: float, climb: tuple[float, ...] = (), *, step: int = 0, told: float | None = None) -> TraceEntry:
    measured = {"latency_ratio": ratio, **({"accuracy": climb[-1]} if climb else {})}
    return TraceEntry(
        key=f"{ratio}-{climb}",
        proposal=Proposal(candidate=Candidate(), step=step),
        plan=Plan(),
        evaluation=Evaluation(metrics=measured, teacher_accuracy=0.9, climb=climb, seconds={"measure": 0.5}),
        reward=-1.0 if not climb else climb[-1] if told is None else told,
    )


def _write(out: Path, job: Run, trace: Sequence[TraceEntry], best: float | None, test: float = 0.8) -> None:
    lines = "".join(f"{to_line(index, entry)}\n" for index, entry in enumerate(trace))
    (out / f"{job.name}.trace.jsonl").write_text(lines)
    result = {"evaluations": len(trace)} if best is None else {"evaluations": len(trace), "best_reward": best}
    (out / f"{job.name}.result.json").write_text(json.dumps({**result, "validation": 0.7, "test": test}))


def _worth(job: Run, accuracy: float, ratio: float) -> float:
    saved = 1 - ratio
    if "c2c" in job.name:
        return accuracy / 0.9 * (1 - ratio**2)  # C (2 - C) = 1 - (1 - C)^2
    return accuracy / 0.9 * saved if "naive" in job.name else accuracy


def _write_all(out: Path, jobs: Sequence[Run]) -> None:
    """Write short runs whose students get better; every fourth breaks the limit."""
    for job in jobs:
        generator = np.random.default_rng(list(job.name.encode()))
        limit = float(job.constraints[0].split()[-1])
        heights = np.round(np.sort(generator.uniform(0.3, 0.9, 52)), 3).tolist()
        trace = [
            _entry(limit + 0.05) if place % 4 == 1 else _entry(limit - 0.1, (height,), step=place // 5)
            for place, height in enumerate(heights)
        ]
        _write(out, job, trace, _worth(job, heights[-1], limit - 0.1), test=float(generator.uniform(0.8, 0.9)))


def _all() -> list[Run]:
    return [job for suite in SUITES.values() for job in suite]


def _record(best: float, test: float) -> Record:
    return Record(
        best=(None, best), rungs=1, ratio=0.5, broken=0.5, seconds=2.0, validation=0.7, test=test, updates=()
    )  # fmt: skip


def test_everything_is_rebuilt_from_the_records_when_the_traces_are_gone(tmp_path: Path) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    out.mkdir()
    _write_all(out, _all())
    write_tables(out, docs)
    before = {path.name: path.read_bytes() for path in docs.iterdir()}
    assert b"Not finished" not in before["search.md"]
    assert len([name for name in before if name.endswith(".png")]) == 4
    for name in before:
        if name != "search-benchmark.json":
            (docs / name).unlink()
    write_tables(tmp_path / "gone", docs)
    assert {path.name: path.read_bytes() for path in docs.iterdir()} == before


def test_edited_prose_stays_and_only_marked_parts_are_made_anew(tmp_path: Path) -> None:
    write_tables(tmp_path / "gone", tmp_path)
    page = tmp_path / "search.md"
    first = page.read_text("utf-8")
    page.write_text(first.replace("# Search engines compared", "# Mine").replace("not known yet", "old"), "utf-8")
    write_tables(tmp_path / "gone", tmp_path)
    assert page.read_text("utf-8") == first.replace("# Search engines compared", "# Mine")


def test_a_mark_that_nobody_fills_is_refused() -> None:
    with pytest.raises(UsageError, match="mark 'lost'"):
        filled(marked("some.py", "lost", "text"), {"known": ""}, tool="some.py")


def test_the_best_so_far_is_that_of_the_highest_rung_reached_so_far() -> None:
    trace = [
        _entry(0.7), _entry(0.5, (0.6,)), _entry(0.55, (0.4, 0.5)), _entry(0.7, (0.9, 0.95)), _entry(0.5, (0.8,)),
        _entry(0.52, (0.4, 0.55)),
    ]  # fmt: skip
    found = record_of(JOB, trace, {"evaluations": 6, "best_reward": 0.55})
    assert found.best == (None, 0.6, 0.5, 0.5, 0.5, 0.55)
    assert (found.rungs, found.ratio, found.broken, found.seconds) == (2, 0.52, round(2 / 6, 5), 3.0)


def test_an_update_counts_minus_one_for_each_student_that_breaks_the_limit() -> None:
    trace = [
        _entry(0.5, (0.4,), told=0.6), _entry(0.7), _entry(0.8, (0.7,), told=0.65),
        _entry(0.4, (0.5,), step=1, told=0.7),
    ]  # fmt: skip
    first, second = record_of(JOB, trace, {"evaluations": 4, "best_reward": 0.5}).updates
    assert (first.evaluations, first.feasible, first.untrained) == (3, 1, 0.4)
    assert first.reward == pytest.approx((0.6 - 1 - 1) / 3, abs=1e-5)
    assert first.ratio == pytest.approx(2 / 3, abs=1e-5)
    assert second.reward == 0.7
    assert reward_over((first, second)) == pytest.approx((0.6 - 2 + 0.7) / 4, abs=1e-5)


def test_a_result_that_is_not_that_of_its_trace_is_refused() -> None:
    with pytest.raises(UsageError, match=r"resnet20-n2n-0 .* remove its files"):
        record_of(JOB, [_entry(0.5, (0.6,))], {"evaluations": 1, "best_reward": 0.7})


def test_a_run_under_way_is_no_result_even_where_an_older_one_is_kept(tmp_path: Path) -> None:
    write_records(tmp_path / "kept.json", {JOB.name: _record(0.5, 0.5)})
    (tmp_path / f"{JOB.name}.trace.jsonl").write_text(to_line(0, _entry(0.5, (0.6,))) + "\n{half")
    records, under_way = read_records(tmp_path, tmp_path / "kept.json")
    assert JOB.name not in records
    assert under_way == {JOB.name: 1}
    assert "resnet20-n2n-0 (1 of 100 evaluations)" in comparison("resnet20", records, under_way)


def test_engines_are_ordered_by_mean_and_missing_seeds_are_shown() -> None:
    records = {
        **{f"resnet20-random-{seed}": _record(0.5, 0.6) for seed in range(3)},
        "resnet20-n2n-0": _record(0.7, 0.8),
        "resnet20-n2n-2": _record(0.6, 0.7),
    }
    lines = comparison("resnet20", records, {}).splitlines()
    assert lines[2].startswith("| n2n | 0.6500 (0.7000, -, 0.6000) | 0.0707 |")
    assert lines[3].startswith("| random | 0.5000 (0.5000, 0.5000, 0.5000) | 0.0000 |")
    assert lines[4].startswith("| uniform | - | - |")
    assert "resnet20-n2n-1" in lines[-1]
    assert "resnet20-n2n-0" not in lines[-1]


def test_targets_are_met_missed_or_unknown() -> None:
    rewards = {"random": 0.5, "greedy": 0.7, "rl-pruner": 0.5, "n2n": 0.51, "joint": 0.69}
    records = {job.name: _record(rewards[job.engine], 0.6) for job in SUITES["resnet56"]}
    text = verdicts("resnet56", records)
    assert "`joint` at least at `random`, `greedy` on the mean: missed, short of `greedy` by 0.0100" in text
    assert "`n2n` above `random` on the mean: met" in text
    assert "`rl-pruner` above `random` on the mean: missed" in text
    del records["resnet56-random-1"]
    assert "`n2n` above `random` on the mean: not known yet" in verdicts("resnet56", records)


def test_welch_agrees_with_the_formula_by_hand() -> None:
    found = unpaired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found is not None
    assert found.value == -2.0
    assert found.error == pytest.approx(math.sqrt(1 / 3 + 4 / 3))
    assert found.freedom == 2  # (5/3)^2 / ((1/9)/2 + (16/9)/2) = 2.94
    assert "no clear difference (lower)" in found.words


def test_the_interval_covers_zero_in_nearly_95_of_100_cases_without_a_difference() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(2000, 2, 3))
    found = [unpaired(list(first), list(second)) for first, second in draws]
    share = np.mean([one is not None and one.is_clear for one in found])
    assert 0.01 < share < 0.05  # at most 5 %, less for rounding the degrees of freedom down


def test_large_differences_are_named_and_small_numbers_of_runs_are_not_judged() -> None:
    large = unpaired([0.9, 0.91, 0.92], [0.5, 0.51, 0.52])
    single = unpaired([0.9], [0.5])
    same = unpaired([0.5, 0.5], [0.4, 0.4])
    assert large is not None
    assert single is not None
    assert same is not None
    assert large.words.endswith("**better**")
    assert single.words.endswith("too few runs to judge")
    assert same.words.endswith("every seed alike")
    assert unpaired([], [0.5]) is None


def test_pairs_take_away_what_seeds_have_in_common() -> None:
    found = paired([0.5, 0.7, 0.9], [0.4, 0.59, 0.81])
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert found.error == pytest.approx(0.01 / math.sqrt(3))
    assert found.is_clear


def test_transfer_is_compared_seed_by_seed(tmp_path: Path) -> None:
    _write_all(tmp_path, SUITES["transfer"])
    records, _ = read_records(tmp_path, tmp_path / "none.json")
    means = {name: sum(one.reward * one.evaluations for one in run.updates[:10]) / 50 for name, run in records.items()}
    gaps = [means[f"resnet20-transfer-{seed}"] - means[f"resnet20-scratch-{seed}"] for seed in range(3)]
    text = transfer(records, {})
    assert f"ResNet-20, transfer minus new: reward over the first 10 updates {np.mean(gaps):+.4f}" in text
    assert "| 26% (" in text  # 13 of the first 50 evaluations, of every run
