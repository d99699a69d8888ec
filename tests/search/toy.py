"""A compression problem whose answer is known: accuracy and cost are formulas, so engines can be judged exactly.

Six residual blocks of two layers each, the inner width of each may be narrowed. Every block and every width has a
hidden importance; what goes costs accuracy by it, more when a neighbour is gone as well. Latency is additive up to an
interaction, so that the table in the space is right but not exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploycompress.errors import PlanError
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.space import Candidate, Dimension, Layer, Removal, Space

IMPORTANCE = (0.30, 0.02, 0.08, 0.25, 0.01, 0.05)
WIDTH_IMPORTANCE = (0.05, 0.20, 0.02, 0.10, 0.15, 0.01)
BLOCK_COST = 0.14
STEM_COST = 1 - len(IMPORTANCE) * BLOCK_COST
WIDTHS = (16, 32, 48, 64)
TEACHER_ACCURACY = 0.95


def make_space(blocks: int = len(IMPORTANCE)) -> Space:
    """Build the space with its table of savings."""
    layers = [Layer(name="stem", kind="conv", kernel=3, padding=1, outputs=64)]
    removals, dimensions = [], []
    for block in range(blocks):
        first = len(layers)
        layers += [
            Layer(
                name=f"b{block}.{part}",
                kind="conv",
                kernel=3,
                padding=1,
                outputs=64,
                skip_start=part,
                skip_end=3 - part,
            )
            for part in (1, 2)
        ]
        removals.append(Removal(block=f"b{block}", layers=(first, first + 1), savings={"latency_ratio": BLOCK_COST}))
        dimensions.append(
            Dimension(
                group=f"g{block}",
                width=64,
                widths=WIDTHS,
                layers=(first,),
                savings=tuple({"latency_ratio": BLOCK_COST * (1 - width / 64)} for width in WIDTHS),
            )
        )
    layers.append(Layer(name="head", kind="linear", outputs=10))
    return Space(
        layers=tuple(layers),
        removals=tuple(removals),
        dimensions=tuple(dimensions),
        teacher={"latency_ratio": 1.0, "params_ratio": 1.0},
    )


def latency_of(candidate: Candidate) -> float:
    """Compute what a candidate takes, relative to the teacher."""
    total = STEM_COST
    for block in range(len(IMPORTANCE)):
        if f"b{block}" not in candidate.remove:
            share = candidate.widths.get(f"g{block}", 64) / 64
            total += BLOCK_COST * (0.1 + 0.9 * share)
    return total


def accuracy_of(candidate: Candidate) -> float:
    """Compute the accuracy that a candidate would have after endless training."""
    loss, before_is_gone = 0.0, False
    for block, importance in enumerate(IMPORTANCE):
        if f"b{block}" in candidate.remove:
            loss += importance * (1.5 if before_is_gone else 1.0)
            before_is_gone = True
        else:
            before_is_gone = False
            share = candidate.widths.get(f"g{block}", 64) / 64
            loss += WIDTH_IMPORTANCE[block] * (1 - share) ** 2
    return TEACHER_ACCURACY * math.exp(-loss)


def climbed(accuracy: float, steps: int) -> float:
    """Compute the accuracy after some steps of training: the gap to the end closes exponentially."""
    return accuracy * (1 - 0.4 * math.exp(-steps / 20))


@dataclass
class Toy:
    """The environment; counts what was asked of it."""

    space: Space = field(default_factory=make_space)
    measured: list[Candidate] = field(default_factory=list)
    judged: list[tuple[Candidate, int]] = field(default_factory=list)
    advanced: list[Candidate] = field(default_factory=list)

    def plan(self, candidate: Candidate) -> Plan:
        if len(candidate.remove) == len(IMPORTANCE):
            raise PlanError("Nothing is left.")
        return Plan(remove=candidate.remove, keep={name: tuple(range(n)) for name, n in candidate.widths.items()})

    def key(self, candidate: Candidate) -> str:
        return candidate.to_json()

    def measure(self, candidate: Candidate) -> Evaluation:
        self.measured.append(candidate)
        if len(candidate.remove) == len(IMPORTANCE):
            return Evaluation(metrics={}, teacher_accuracy=TEACHER_ACCURACY, failure="Nothing is left.")
        return Evaluation(metrics=self._metrics(candidate), teacher_accuracy=TEACHER_ACCURACY)

    def judge(self, candidate: Candidate, evaluation: Evaluation, steps: int) -> Evaluation:
        self.judged.append((candidate, steps))
        return evaluation.with_climb((*evaluation.climb, climbed(accuracy_of(candidate), steps)))

    def advance(self, candidate: Candidate, *, distils: bool) -> Evaluation:
        self.advanced.append(candidate)
        accuracy = climbed(accuracy_of(candidate), 100 if distils else 0)
        return Evaluation(metrics={**self._metrics(candidate), "accuracy": accuracy}, teacher_accuracy=TEACHER_ACCURACY)

    def _metrics(self, candidate: Candidate) -> Mapping[str, float]:
        ratio = latency_of(candidate)
        return {"latency_ratio": ratio, "params_ratio": ratio, "params": 1000 * ratio}
