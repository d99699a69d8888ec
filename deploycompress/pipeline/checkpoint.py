"""What an interrupted search leaves in the output folder, and how it goes on from there.

`run.json` is what was asked, `space.json` what there was to decide about, `trace.jsonl` has a line for every
evaluation, `search.json` is the engine's state after the last one it counts, and names the file with the weights of
the student that the engine has advanced to, if any. `memory.jsonl` has every measurement, so that what is asked again
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
class Resumed:
    """Where a search stood.

    Attributes:
        state: the engine's, as text; empty when there was none yet.
        trace: its evaluations.
        spent_s: seconds of the budget that were used.
        evaluations: what the search was planned for; none when it had not begun.
        student: the student that was advanced to, as the environment wrote it; none for the teacher.
    """

    state: str = ""
    trace: tuple[TraceEntry, ...] = ()
    spent_s: float = 0.0
    evaluations: int | None = None
    student: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """What a trace is to be read with.

    Attributes:
        reward: formula and constraints.
        space: what there was to decide about, with the table of what each choice saves, as measured.
    """

    reward: RewardSettings
    space: Space


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
        self._count, self._student = 0, ""

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
        if self._run is not None:
            write_whole(self._folder / RUN_FILE, json.dumps({"schema": SCHEMA, **self._run}, indent=2) + "\n")
        write_whole(self._folder / TASK_FILE, to_json(task, TASK_FILE) + "\n")
        lines = [to_line(index, entry) for index, entry in enumerate(resumed.trace)]
        write_whole(self._folder / TRACE_FILE, "".join(f"{line}\n" for line in lines))
        self._count = len(lines)
        self._student = ""
        if resumed.student is not None:
            self._keep_student(self._folder, resumed.student)
        if not lines:
            for name in (STATE_FILE, MEMORY_FILE):
                (self._folder / name).unlink(missing_ok=True)
        self.memory.keep_in(self._folder / MEMORY_FILE)

    def keep(self, entry: TraceEntry, state: str, *, spent_s: float, evaluations: int, student: bytes | None) -> None:
        """Write an evaluation, and the state after it; both count once the state is there.

        Args:
            entry: the evaluation.
            state: the engine's, as text.
            spent_s: seconds of the budget so far.
            evaluations: what the search was planned for.
            student: what the environment wrote of the student it has just advanced to; none if it has not.
        """
        if self._folder is None:
            return
        append_line(self._folder / TRACE_FILE, to_line(self._count, entry))
        self._count += 1
        before = self._student
        if student is not None:
            self._keep_student(self._folder, student)
        head = {
            "schema": SCHEMA,
            "evaluated": self._count,
            "spent_s": spent_s,
            "evaluations": evaluations,
            "student": self._student,
        }
        write_whole(self._folder / STATE_FILE, f"{json.dumps(head)}\n{state}\n")
        if before and before != self._student:
            (self._folder / before).unlink(missing_ok=True)

    def finish(self) -> None:
        """Drop what only an unfinished search needs; the trace stays."""
        if self._folder is None:
            return
        names = (STATE_FILE, RUN_FILE, MEMORY_FILE)
        for path in (*(self._folder / name for name in names), *self._folder.glob(STUDENT_FILES)):
            path.unlink(missing_ok=True)

    def _keep_student(self, folder: Path, content: bytes) -> None:
        self._student = f"student-{self._count}.npz"
        write_whole(folder / self._student, content)


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
    lines = read_lines(folder / STATE_FILE)
    try:
        head = json.loads(lines[0])
        count, spent_s, evaluations = int(head["evaluated"]), float(head["spent_s"]), int(head["evaluations"])
        state, name = lines[1], str(head["student"])
        student = (folder / Path(name).name).read_bytes() if name else None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{str(folder / STATE_FILE)!r} is damaged ({error!r}); start the run anew.") from error
    trace = read_trace(read_lines(folder / TRACE_FILE))
    if len(trace) < count:
        raise UsageError(
            f"{str(folder / TRACE_FILE)!r} has {len(trace)} evaluations, its state counts {count}; start the run anew."
        )
    return Resumed(state=state, trace=trace[:count], spent_s=spent_s, evaluations=evaluations, student=student)
