"""What a search is handed: somebody who slims, measures, trains and judges students for it."""

from __future__ import annotations

from typing import Protocol

from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.space import Candidate


class Environment(Protocol):
    """Holds the current student, at first the teacher; every candidate is over the teacher's blocks and channels."""

    def plan(self, candidate: Candidate) -> Plan:
        """Say what surgery makes of a candidate: the most important channels of each group stay.

        Raises:
            PlanError: the candidate's parts cannot go together.
        """
        ...

    def key(self, candidate: Candidate) -> str:
        """Name the student of a candidate: the same name, the same graph with the same weights."""
        ...

    def measure(self, candidate: Candidate) -> Evaluation:
        """Slim and measure, without accuracy; a student that cannot be is reported as a failure, not raised."""
        ...

    def judge(self, candidate: Candidate, evaluation: Evaluation, steps: int) -> Evaluation:
        """Add a student's accuracy after recalibration and some steps of distillation (none for 0) to its climb.

        Args:
            candidate: whose student.
            evaluation: what is known of it so far.
            steps: counted from the first one; what was trained for the rung below is trained on.
        """
        ...

    def advance(self, candidate: Candidate, *, distils: bool) -> Evaluation:
        """Make a candidate's student the current one, distilled if asked for, and evaluate it.

        Without distillation its accuracy is that after recalibration, the first of a climb.
        """
        ...
