"""What a student is worth to the policy: RL-Pruner's and N2N's rewards under one rule for constraints.

Pure functions of an evaluation. No reward is below that of a degenerate student.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from deploycompress.constraint import Constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search.schedules import Annealing, tolerance

DEGENERATE_REWARD = -1.0


class RewardKind(StrEnum):
    """The two rewards, and the one that N2N argues against (its appendix 11.1)."""

    RL_PRUNER = "rl-pruner"
    N2N = "n2n"
    NAIVE = "naive"


class Quantity(StrEnum):
    """What N2N's reward wants small."""

    PARAMS = "params"
    MACS = "macs"
    LATENCY = "latency"
    MEMORY = "memory"


RATIO_METRICS: Mapping[Quantity, str] = {
    Quantity.PARAMS: "params_ratio",
    Quantity.MACS: "macs_ratio",
    Quantity.LATENCY: "latency_ratio",
    Quantity.MEMORY: "activation_peak_ratio",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSettings:
    """Which reward, and under which constraints.

    Attributes:
        kind: formula.
        alpha: RL-Pruner's weight of the share of multiply-accumulates saved; 0.25 in its second strategy.
        beta: RL-Pruner's weight of the share of parameters saved; 0.25 in its third strategy.
        quantity: what N2N's compression C counts; parameters in the paper.
        constraints: rows of A x <= b.
        annealing: how broken rows are tolerated over the search.
    """

    kind: RewardKind = RewardKind.RL_PRUNER
    alpha: float = 0.0
    beta: float = 0.0
    quantity: Quantity = Quantity.PARAMS
    constraints: tuple[Constraint, ...] = ()
    annealing: Annealing = Annealing.LINEAR

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"Reward setting {name!r} is {value}; it must be a finite number of at least 0.")


def rl_pruner_reward(
    accuracy: float, *, macs_saved: float = 0.0, params_saved: float = 0.0, alpha: float = 0.0, beta: float = 0.0
) -> float:
    """Weigh accuracy against the shares of work and parameters saved."""
    return accuracy + alpha * macs_saved + beta * params_saved  # RL-Pruner, eq. 17


def n2n_reward(accuracy: float, *, teacher_accuracy: float, compression: float) -> float:
    """Multiply the compression reward with the accuracy relative to the teacher.

    Args:
        accuracy: the student's, in [0, 1].
        teacher_accuracy: the teacher's, in (0, 1].
        compression: one minus the student's size over the teacher's; negative when the student is larger.
    """
    return compression * (2 - compression) * accuracy / teacher_accuracy  # N2N, section 3.3


def naive_reward(accuracy: float, *, teacher_accuracy: float, compression: float) -> float:
    """Multiply compression itself with the relative accuracy, which makes both count alike."""
    return compression * accuracy / teacher_accuracy  # N2N, section 11.1


def constrained(value: float, *, is_met: bool, epsilon: float) -> float:
    """Lower the reward of a student that breaks a constraint; with epsilon 0 that is the degenerate reward."""
    return value if is_met else epsilon * (value + 1) - 1  # N2N, section 3.3.1


def reward(evaluation: Evaluation, settings: RewardSettings, progress: float = 1.0) -> float:
    """Say what a student is worth at a moment of the search.

    Args:
        evaluation: what is known of the student.
        settings: formula and constraints.
        progress: share of the search that is over, in [0, 1]; 1 means without annealing.

    Returns:
        The reward, never below `DEGENERATE_REWARD`; exactly that for a student that failed, is empty, has a
        metric that is not a number, or whose accuracy was not taken.

    Raises:
        UsageError: the reward reads a metric that the evaluation lacks although its accuracy was taken, or the
            teacher classifies nothing right.
    """
    if _is_worthless(evaluation):
        return DEGENERATE_REWARD
    value = unconstrained(evaluation, settings)
    is_met = meets(evaluation.metrics, settings.constraints)
    return constrained(value, is_met=is_met, epsilon=tolerance(settings.annealing, progress))


def unconstrained(evaluation: Evaluation, settings: RewardSettings) -> float:
    """Say what a student would be worth without constraints, never below `DEGENERATE_REWARD`.

    Raises:
        UsageError: as `reward`.
    """
    if _is_worthless(evaluation):
        return DEGENERATE_REWARD
    return max(_unconstrained(evaluation, settings), DEGENERATE_REWARD)


def worth_training(metrics: Mapping[str, float], settings: RewardSettings, progress: float) -> bool:
    """Say whether a student deserves the cost of its accuracy, from what is known of it so far.

    A row that is not tolerated any more and already broken is decisive; a row whose metrics are not known yet
    (accuracy, for one) decides nothing.
    """
    if any(math.isnan(value) for value in metrics.values()):
        return False
    if tolerance(settings.annealing, progress) > 0:
        return True
    decidable = [row for row in settings.constraints if row.metrics <= metrics.keys()]
    return meets(metrics, decidable)


def meets(metrics: Mapping[str, float], constraints: tuple[Constraint, ...] | list[Constraint]) -> bool:
    """Say whether every row holds; a row with a missing metric does not."""
    return all(row.metrics <= metrics.keys() and row.is_met(metrics) for row in constraints)


def total_excess(metrics: Mapping[str, float], constraints: tuple[Constraint, ...]) -> float:
    """Add up by how much rows are broken, relative to their bounds; infinite when a metric is missing."""
    return sum(
        (max(row.excess(metrics), 0.0) if row.metrics <= metrics.keys() else math.inf for row in constraints), 0.0
    )


def _is_worthless(evaluation: Evaluation) -> bool:
    is_empty = any(evaluation.metrics.get(name) == 0 for name in ("params", "params_ratio"))  # N2N, section 11.2
    return evaluation.is_degenerate or is_empty or evaluation.accuracy is None


def _unconstrained(evaluation: Evaluation, settings: RewardSettings) -> float:
    accuracy = evaluation.metrics["accuracy"]
    if settings.kind is not RewardKind.RL_PRUNER:
        if not evaluation.teacher_accuracy > 0:
            raise UsageError(
                f"The teacher's accuracy is {evaluation.teacher_accuracy}; the {settings.kind} reward divides by it: "
                "check the labels and the normalisation."
            )
        saved = _saved(evaluation.metrics, RATIO_METRICS[settings.quantity])
        formula = n2n_reward if settings.kind is RewardKind.N2N else naive_reward
        return formula(accuracy, teacher_accuracy=evaluation.teacher_accuracy, compression=saved)
    return rl_pruner_reward(
        accuracy,
        macs_saved=_saved(evaluation.metrics, "macs_ratio") if settings.alpha else 0.0,
        params_saved=_saved(evaluation.metrics, "params_ratio") if settings.beta else 0.0,
        alpha=settings.alpha,
        beta=settings.beta,
    )


def _saved(metrics: Mapping[str, float], ratio: str) -> float:
    if ratio not in metrics:
        raise UsageError(f"The reward needs the metric {ratio!r}, which is not measured; known: {sorted(metrics)}.")
    return 1 - metrics[ratio]
