"""What an interrupted search leaves in the output folder, and how it goes on from there.

`run.json` is what was asked, `space.json` what there was to decide about, `trace.jsonl` has a line for every
evaluation, `search.json` is the engine's state after the last one it counts, and names the files with the weights
of the students that the engine has advanced to. `memory.jsonl` has every measurement, so that what is asked again
after an interruption is answered as before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycompress.errors import OutputError, UsageError
from deploycompress.pipeline.result import STATE_FILE
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.record import from_json, to_json
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Space
from deploycompress.search.trace import read_trace, to_line
from deploycompress.store.memory import Memory
from deploycompress.store.trace_file import append_line, read_lines, write_whole

RUN_FILE, TRACE_FILE, TASK_FILE, MEMORY_FILE = "run.json", "trace.jsonl", "space.json", "memory.jsonl"
STUDENT_FILES = "student-*.npz"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a search may still cost.

    Attributes:
        evaluations: what it was planned for, all in all.
        search_s: seconds left for it; none for no limit.
        advance_s: seconds of each distillation between steps; none for no limit.
        advance_epochs: rounds of it; none where the seconds count.
    """

    evaluations: int
    search_s: float | None
    advance_s: float | None
    advance_epochs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a search stands, apart from its trace: the content of `search.json`.

    Attributes:
        state: the engine's, as text.
        evaluated: evaluations of the trace that count.
        spent_s: seconds of the whole budget that were used.
        allowance: what it may still cost.
        students: files of the students that were advanced to, in order.
    """

    state: str
    evaluated: int
    spent_s: float
    allowance: Allowance
    students: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What to go on with; nothing of all that for a new search.

    Attributes:
        progress: where the search stood.
        trace: its evaluations.
        students: what the environment wrote of the students that were advanced to, in order.
    """

    progress: Standing | None = None
    trace: tuple[TraceEntry, ...] = ()
    students: tuple[bytes, ...] = ()

    @property
    def spent_s(self) -> float:
        """Seconds of the whole budget that were used."""
        return 0.0 if self.progress is None else self.progress.spent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """What a trace is to be read with.

    Attributes:
        reward: formula and constraints.
        space: what there was to decide about, with the table of what each choice saves, as measured.
        score: what counts as accuracy.
    """

    reward: RewardSettings
    space: Space
    score: str = "accuracy"


class Checkpoint:
    """Keeps a search in a folder, so that it can be killed at any moment.

    Args:
        folder: none keeps nothing.
        run: what was asked; none for what a file cannot hold, and then nobody can go on with it.

    Attributes:
        memory: what was measured and judged; in the folder, too, once the search has begun.
    """

    def __init__(self, folder: Path | None, run: Mapping[str, Any] | None = None) -> None:
        self.memory = Memory()
        self._folder, self._run = folder, run
        self._count = 0
        self._students: tuple[str, ...] = ()

    def begin(self, task: SearchTask, resumed: Resumed) -> None:
        """Make the folder ready: a new trace, or the resumed one without what its state does not count.

        Raises:
            OutputError: the folder cannot be written to.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {str(self._folder)!r} cannot be made: {error.strerror}.") from error
        if not resumed.trace:  # what another search left must not be taken for this one's, whenever this is killed
            for name in (STATE_FILE, MEMORY_FILE):
                (self._folder / name).unlink(missing_ok=True)
        if self._run is not None:
            write_whole(self._folder / RUN_FILE, json.dumps({"schema": SCHEMA, **self._run}, indent=2) + "\n")
        write_whole(self._folder / TASK_FILE, to_json(task, TASK_FILE) + "\n")
        lines = [to_line(index, entry) for index, entry in enumerate(resumed.trace)]
        write_whole(self._folder / TRACE_FILE, "".join(f"{line}\n" for line in lines))
        self._count = len(lines)
        self._students = () if resumed.progress is None else resumed.progress.students
        self.memory.keep_in(self._folder / MEMORY_FILE)

    def keep(
        self, entry: TraceEntry, state: str, *, spent_s: float, allowance: Allowance, student: bytes | None
    ) -> None:
        """Write an evaluation, and the state after it; both count once the state is there.

        Args:
            entry: the evaluation.
            state: the engine's, as text.
            spent_s: seconds of the whole budget so far.
            allowance: what the search may still cost.
            student: what the environment wrote of the student it has just advanced to; none if it has not.
        """
        if self._folder is None:
            return
        append_line(self._folder / TRACE_FILE, to_line(self._count, entry))
        self._count += 1
        if student is not None:
            name = f"student-{self._count}.npz"
            write_whole(self._folder / name, student)
            self._students = (*self._students, name)
        progress = Standing(
            state=state, evaluated=self._count, spent_s=spent_s, allowance=allowance, students=self._students
        )
        write_whole(self._folder / STATE_FILE, to_json(progress, STATE_FILE) + "\n")

    def finish(self) -> None:
        """Drop what only an unfinished search needs; the trace stays."""
        if self._folder is None:
            return
        names = (STATE_FILE, RUN_FILE, MEMORY_FILE)
        for path in (*(self._folder / name for name in names), *self._folder.glob(STUDENT_FILES)):
            path.unlink(missing_ok=True)


def is_interrupted(folder: Path) -> bool:
    """Say whether a folder holds a search that has not come to its end."""
    return (folder / STATE_FILE).exists()


def read_run(folder: Path) -> dict[str, Any]:
    """Read what was asked of the run in a folder.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{str(folder)!r} holds no run to go on with: no {RUN_FILE} ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{str(folder / RUN_FILE)!r} is damaged ({error}); start the run anew.") from error
    if not isinstance(run, dict) or run.pop("schema", None) != SCHEMA:
        raise UsageError(f"{str(folder / RUN_FILE)!r} is of another version than {SCHEMA}; start the run anew.")
    return run


def read_task(folder: Path) -> tuple[tuple[TraceEntry, ...], SearchTask]:
    """Read the trace in a folder and what it is to be read with.

    Raises:
        UsageError: the folder holds no search, or its files are damaged.
    """
    for name in (TRACE_FILE, TASK_FILE):
        if not (folder / name).is_file():
            raise UsageError(f"{str(folder)!r} holds no search: there is no {name} in it.")
    text = "\n".join(read_lines(folder / TASK_FILE))
    return read_trace(read_lines(folder / TRACE_FILE)), from_json(SearchTask, text, TASK_FILE)


def read_resumed(folder: Path) -> Resumed:
    """Read where the search in a folder stood; evaluations that its state does not count are dropped.

    Raises:
        UsageError: the files are damaged or do not fit each other.
    """
    if not is_interrupted(folder):
        return Resumed()
    progress = from_json(Standing, "\n".join(read_lines(folder / STATE_FILE)), STATE_FILE)
    trace = read_trace(read_lines(folder / TRACE_FILE))
    if len(trace) < progress.evaluated:
        raise UsageError(
            f"{str(folder / TRACE_FILE)!r} has {len(trace)} evaluations, its state counts {progress.evaluated}; "
            "start the run anew."
        )
    try:
        students = tuple((folder / Path(name).name).read_bytes() for name in progress.students)
    except OSError as error:
        raise UsageError(f"A student of the search cannot be read: {error}; start the run anew.") from error
    return Resumed(progress=progress, trace=trace[: progress.evaluated], students=students)
