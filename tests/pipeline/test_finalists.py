"""The last heat in 8 bits ranks by the run's own reward."""

from __future__ import annotations

import pytest

from deploycompress.evaluation import Evaluation
from deploycompress.pipeline.finalists import best_in_int8
from deploycompress.plan import Plan
from deploycompress.search.engine import Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardKind, RewardSettings
from deploycompress.search.space import Candidate


def _finalist(name: str, accuracy: float, params_ratio: float) -> TraceEntry:
    metrics = {"accuracy": accuracy, "params_ratio": params_ratio}
    return TraceEntry(
        key=name,
        proposal=Proposal(candidate=Candidate()),
        plan=Plan(),
        evaluation=Evaluation(metrics=metrics, teacher_accuracy=0.95),
        reward=0.0,
    )


FEW = (_finalist("first", 0.875, 0.5), _finalist("second", 0.75, 0.5), _finalist("small", 0.625, 0.1))


@pytest.mark.parametrize(
    ("losses", "settings", "wins"),
    [
        ((0.0, 0.0, 0.0), RewardSettings(), "first"),
        ((0.25, 0.0625, 0.0), RewardSettings(), "second"),
        ((0.125, 0.0, 0.0), RewardSettings(), "first"),  # of equals the better one of the search
        ((0.25, 0.0625, 0.0), RewardSettings(kind=RewardKind.N2N), "small"),
    ],
)
def test_what_8_bits_cost_counts_and_the_reward_decides(
    losses: tuple[float, ...], settings: RewardSettings, wins: str
) -> None:
    assert best_in_int8(FEW, losses, settings).key == wins
