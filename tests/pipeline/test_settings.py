"""Every setting can be changed by name; what is unknown or impossible is refused by name."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.pipeline.settings import Settings, read_settings
from deploycompress.search.reward import Quantity, RewardKind
from deploycompress.search.schedules import Annealing, Decay
from deploycompress.train.losses import LossKind


def test_nothing_set_is_the_paper_stopping_at_the_constraints() -> None:
    settings = read_settings([])
    assert settings == Settings()
    assert (settings.search.samples, settings.search.noise_variance, settings.search.stop_when_met) == (10, 0.04, True)


def test_each_section_and_type_can_be_set() -> None:
    settings = read_settings(
        [
            "search.samples=5",
            "search.noise_variance = 0.01",
            "search.exploration_decay=linear",
            "search.stop_when_met=false",
            "reward.kind=n2n",
            "reward.quantity=latency",
            "reward.annealing=hard",
            "training.peak_rate=0.05",
            "loss.kind=l2",
            "loss.temperature=2",
        ]
    )
    assert (settings.search.samples, settings.search.noise_variance) == (5, 0.01)
    assert settings.search.exploration_decay is Decay.LINEAR
    assert settings.search.stop_when_met is False
    assert (settings.reward.kind, settings.reward.quantity) == (RewardKind.N2N, Quantity.LATENCY)
    assert settings.reward.annealing is Annealing.HARD
    assert settings.training.peak_rate == 0.05
    assert (settings.training.loss.kind, settings.training.loss.temperature) == (LossKind.L2, 2.0)


@pytest.mark.parametrize(
    ("assignment", "culprit"),
    [
        ("search.sampels=5", "did you mean 'search.samples'"),
        ("search.samples", "has no value"),
        ("search.samples=many", "expected a number"),
        ("search.samples=0", "'samples' is 0"),
        ("reward.kind=best", "rl-pruner, n2n"),
        ("search.stop_when_met=yes", "true or false"),
        ("reward.constraints=x", "no such setting"),
        ("training.epochs=3", "no such setting"),
    ],
)
def test_mistakes_are_named(assignment: str, culprit: str) -> None:
    with pytest.raises(UsageError, match=culprit):
        read_settings([assignment])
