"""The students that a search has advanced to: each was cut from the one before, and keeps what it was taught.

Their weights live in the teacher's graph, in the places they were cut from, so that every candidate of a search is over
the same blocks and channels.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import PlanError, UsageError
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.plan import Plan
from deploycompress.surgery.embed import embed

Worth = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One student that was advanced to.

    Attributes:
        plan: that cut it.
        accuracy: after its distillation; none without one.
    """

    plan: Plan
    accuracy: float | None


class Lineage:
    """The current student and its ancestors.

    Args:
        teacher: the first of them.
        students: makes graphs of plans.
        worth: importance of the teacher's channels by number.

    Attributes:
        current: the teacher's graph with the current student's weights.
        worth: importance of the teacher's channels by number; minus infinity for those that are cut.
    """

    def __init__(self, teacher: Graph, students: Students, worth: Worth) -> None:
        self._teacher, self._students = teacher, students
        self._sources: dict[str, Graph] = {}
        self._advances: list[Advance] = []
        self.current, self.worth = teacher, worth

    @property
    def distilled(self) -> int:
        """Number of students that were distilled."""
        return sum(advance.accuracy is not None for advance in self._advances)

    def was_distilled(self, plan: Plan) -> bool:
        """Say whether the student of a plan has been trained, so that its statistics are its own."""
        return any(advance.plan == plan and advance.accuracy is not None for advance in self._advances)

    def judged(self, plan: Plan) -> None:
        """Remember that a plan was judged with the current weights."""
        self._sources[plan.to_json()] = self.current

    def source(self, plan: Plan) -> Graph:
        """Give the weights that a plan was last judged with; the teacher's, if it never was."""
        return self._sources.get(plan.to_json(), self._teacher)

    def adopt(self, plan: Plan, trained: Graph, accuracy: float | None) -> None:
        """Make a student the current one: its weights go back to their places in the teacher's graph.

        Args:
            plan: that cut it.
            trained: the student with its weights.
            accuracy: after its distillation; none without one.
        """
        bare, channels = self._students.bare(self.current, plan), self._students.bare_channels(plan)
        whole = embed(bare, Plan(keep=plan.keep), trained, channels=channels)
        fitting = {
            name: array
            for name, array in whole.weights.items()
            if name in self.current.weights and self.current.weights[name].shape == array.shape
        }
        self.current = self.current.with_weights(fitting)
        self._advances.append(Advance(plan=plan, accuracy=accuracy))
        self.judged(plan)

    def to_bytes(self) -> bytes:
        """Write down the current student: weights that differ from the teacher's, importance, plan and accuracy."""
        last = self._advances[-1]
        changed = {
            f"weight:{name}": array
            for name, array in self.current.weights.items()
            if array is not self._teacher.weights[name]
        }
        stream = io.BytesIO()
        accuracy = np.nan if last.accuracy is None else last.accuracy
        np.savez(stream, worth=self.worth, plan=np.array(last.plan.to_json()), accuracy=accuracy, **changed)  # type: ignore[arg-type]
        return stream.getvalue()

    def restore(self, content: bytes) -> Advance:
        """Go on from a student that `to_bytes` wrote; its ancestors come first.

        Raises:
            UsageError: the content is none, or of another teacher.
        """
        try:
            with np.load(io.BytesIO(content)) as found:
                weights = {name.removeprefix("weight:"): found[name] for name in found if name.startswith("weight:")}
                worth, plan, accuracy = found["worth"], Plan.from_json(str(found["plan"])), float(found["accuracy"])
            fits = all(self._teacher.weights[name].shape == array.shape for name, array in weights.items())
        except (OSError, ValueError, KeyError, EOFError, PlanError, zipfile.BadZipFile) as error:
            raise UsageError(f"The kept student cannot be read ({error}); start the run anew.") from error
        if not fits or worth.shape != self.worth.shape:
            raise UsageError("The kept student is of another model; start the run anew.")
        self.current, self.worth = self._teacher.with_weights(weights), worth
        self._advances.append(Advance(plan=plan, accuracy=None if np.isnan(accuracy) else accuracy))
        self.judged(plan)
        return self._advances[-1]
