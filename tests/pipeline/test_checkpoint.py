"""The folder of an unfinished search: what is read is what was written, wherever the writer was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.errors import OutputError, UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.pipeline.checkpoint import (
    Allowance,
    Checkpoint,
    Resumed,
    SearchTask,
    Standing,
    is_interrupted,
    read_resumed,
    read_run,
    read_task,
)
from deploycompress.search.engine import Kind, Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate
from tests.search.toy import Toy, make_space

TASK = SearchTask(reward=RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.6"),)), space=make_space())
ALLOWANCE = Allowance(evaluations=9, search_s=12.5, advance_s=None, advance_epochs=0.1 + 0.2)
RUN = {"source": "m.onnx", "constraints": ["latency_ratio <= 0.6"], "budget": None}


def entry(index: int, kind: Kind = Kind.SAMPLE) -> TraceEntry:
    toy, candidate = Toy(), Candidate(remove=(f"b{index % 3}",), widths={"g4": 32})
    evaluation = toy.measure(candidate).with_climb((0.1 + 0.2, 0.5 + index / 7))
    return TraceEntry(
        key=f"key{index}",
        proposal=Proposal(candidate=candidate, kind=kind, progress=index / 9, step=index),
        plan=toy.plan(candidate),
        evaluation=replace(evaluation, seconds={"measure": 1 / 3}),
        reward=index / 11,
    )


def kept(folder: Path, count: int = 3, *, advances: tuple[int, ...] = ()) -> Checkpoint:
    checkpoint = Checkpoint(folder, RUN)
    checkpoint.begin(TASK, Resumed())
    for index in range(count):
        keep(checkpoint, index, student=f"student of {index}".encode() if index in advances else None)
    return checkpoint


def keep(checkpoint: Checkpoint, index: int, student: bytes | None = None) -> None:
    kind = Kind.SAMPLE if student is None else Kind.ADVANCE
    checkpoint.keep(entry(index, kind), f"state {index}", spent_s=index / 3, allowance=ALLOWANCE, student=student)


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    checkpoint = kept(folder, 4, advances=(1, 3))
    checkpoint.memory.add("key", {"accuracy": 0.5})
    found = read_resumed(folder)
    assert found.trace == tuple(entry(index, Kind.ADVANCE if index in (1, 3) else Kind.SAMPLE) for index in range(4))
    assert found.students == (b"student of 1", b"student of 3")
    assert found.progress == Standing(
        state="state 3", evaluated=4, spent_s=1.0, allowance=ALLOWANCE, students=("student-2.npz", "student-4.npz")
    )
    assert found.spent_s == 1.0
    assert read_run(folder) == RUN
    assert read_task(folder) == (found.trace, TASK)
    assert is_interrupted(folder)


def test_a_search_that_goes_on_adds_to_what_there_is(tmp_path: Path) -> None:
    kept(tmp_path, 3, advances=(1,)).memory.add("key", {"accuracy": 0.5})
    again = Checkpoint(tmp_path, RUN)
    again.memory.add("new", {"accuracy": 0.25})
    again.begin(TASK, read_resumed(tmp_path))
    assert dict(again.memory) == {"key": {"accuracy": 0.5}, "new": {"accuracy": 0.25}}
    keep(again, 3, student=b"later")
    found = read_resumed(tmp_path)
    assert [one.key for one in found.trace] == ["key0", "key1", "key2", "key3"]
    assert found.students == (b"student of 1", b"later")


def test_an_evaluation_without_its_state_does_not_count(tmp_path: Path) -> None:
    """Killed between the line of the trace and the state: the evaluation is made again."""
    kept(tmp_path, 2)
    before = (tmp_path / "search.json").read_bytes()
    third = kept(tmp_path / "other", 3)
    assert third is not None
    line = (tmp_path / "other" / "trace.jsonl").read_text().splitlines()[2]
    with (tmp_path / "trace.jsonl").open("a") as stream:
        stream.write(line + "\n" + line[: len(line) // 2])
    assert (tmp_path / "search.json").read_bytes() == before
    found = read_resumed(tmp_path)
    assert [one.key for one in found.trace] == ["key0", "key1"]
    Checkpoint(tmp_path, RUN).begin(TASK, found)
    assert len((tmp_path / "trace.jsonl").read_text().splitlines()) == 2


def test_a_run_without_an_evaluation_starts_anew(tmp_path: Path) -> None:
    kept(tmp_path, 0)
    assert not is_interrupted(tmp_path)
    assert read_resumed(tmp_path) == Resumed()
    assert Resumed().spent_s == 0.0
    assert read_run(tmp_path) == RUN
    assert read_task(tmp_path) == ((), TASK)


def test_a_new_search_drops_what_another_left(tmp_path: Path) -> None:
    kept(tmp_path, 3).memory.add("key", {"accuracy": 0.5})
    new = Checkpoint(tmp_path, RUN)
    new.begin(TASK, Resumed())
    assert dict(new.memory) == {}
    assert not is_interrupted(tmp_path)
    keep(new, 7)
    assert [one.key for one in read_resumed(tmp_path).trace] == ["key7"]


def test_in_the_end_trace_and_task_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("")
    kept(tmp_path, 3, advances=(0, 2)).finish()
    assert {path.name for path in tmp_path.iterdir()} == {"trace.jsonl", "space.json", "mine.npz"}
    assert len(read_task(tmp_path)[0]) == 3


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(None)
    checkpoint.begin(TASK, Resumed())
    keep(checkpoint, 0)
    checkpoint.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_no_file_can_hold_is_not_written(tmp_path: Path) -> None:
    Checkpoint(tmp_path, None).begin(TASK, Resumed())
    with pytest.raises(UsageError, match=r"holds no run to go on with: no run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"schema": 1}\n', '{"schema": 2, "engine": "x", "state": {}}\n'])
def test_a_damaged_state_is_said(tmp_path: Path, content: str) -> None:
    kept(tmp_path)
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(UsageError, match=r"search\.json"):
        read_resumed(tmp_path)


def test_files_that_do_not_fit_each_other_are_said(tmp_path: Path) -> None:
    kept(tmp_path, 3, advances=(2,))
    lines = (tmp_path / "trace.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "student-3.npz").unlink()
    with pytest.raises(UsageError, match=r"student of the search cannot be read.*student-3\.npz"):
        read_resumed(tmp_path)
    (tmp_path / "trace.jsonl").write_text("".join(lines[:2]))
    with pytest.raises(UsageError, match="has 2 evaluations, its state counts 3"):
        read_resumed(tmp_path)


def test_students_are_read_from_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kept(folder, 1, advances=(0,))
    (tmp_path / "secret").write_bytes(b"not of this folder")
    state = json.loads((folder / "search.json").read_text())
    state["state"]["students"] = ["../secret"]
    (folder / "search.json").write_text(json.dumps(state) + "\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_resumed(folder)


@pytest.mark.parametrize("missing", ["trace.jsonl", "space.json"])
def test_a_folder_without_a_search_has_no_task(tmp_path: Path, missing: str) -> None:
    kept(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UsageError, match=f"holds no search: there is no {missing} in it"):
        read_task(tmp_path)


def test_evaluations_of_failures_are_kept(tmp_path: Path) -> None:
    failed = replace(entry(0), evaluation=Evaluation(metrics={}, teacher_accuracy=0.9, failure="Unplugged."))
    checkpoint = kept(tmp_path, 0)
    checkpoint.keep(failed, "state", spent_s=0.0, allowance=ALLOWANCE, student=None)
    assert read_resumed(tmp_path).trace == (failed,)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        kept(tmp_path / "file" / "out")
