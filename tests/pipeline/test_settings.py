"""Every setting can be changed by name; what is unknown or impossible is refused by name."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.pipeline.settings import Settings, read_settings
from deploycompress.search import ENGINES, load_settings
from deploycompress.search.n2n.settings import Method
from deploycompress.search.reward import Quantity, RewardKind
from deploycompress.search.schedules import Annealing, Decay
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.losses import LossKind


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_set_is_the_engines_own(engine: str) -> None:
    assert read_settings([], engine) == Settings(search=load_settings(engine)())


def test_papers_numbers_are_the_defaults() -> None:
    pruner, n2n = read_settings([], "rl-pruner").search, read_settings([], "n2n").search
    assert (pruner.steps, pruner.stages, pruner.samples, pruner.noise_variance) == (75, 10, 10, 0.04)
    assert (n2n.rollouts, n2n.removal_learning_rate, n2n.shrinkage_learning_rate) == (5, 0.003, 0.1)


def test_settings_that_go_together_may_come_in_any_order() -> None:
    settings = read_settings(["training.adaptive=true", "training.peak_rate=0.001", "loss.kind=l2"], "joint").training
    assert (settings.adaptive, settings.peak_rate, settings.loss.kind) == (True, 0.001, LossKind.L2)


def test_each_section_and_type_can_be_set() -> None:
    settings = read_settings(
        [
            "search.samples=5",
            "search.noise_variance = 0.01",
            "search.exploration_decay=linear",
            "search.stop_when_met=true",
            "reward.kind=n2n",
            "reward.quantity=latency",
            "reward.annealing=linear",
            "space.kernels=true",
            "importance.criterion=norm-scale",
            "ladder.steps=0,10",
            "ladder.share=0.5",
            "course.batch_size=16",
            "training.peak_rate=0.05",
            "loss.kind=l2",
            "loss.temperature=2",
        ],
        "rl-pruner",
    )
    assert (settings.search.samples, settings.search.noise_variance) == (5, 0.01)
    assert settings.search.exploration_decay is Decay.LINEAR
    assert settings.search.stop_when_met is True
    assert (settings.reward.kind, settings.reward.quantity) == (RewardKind.N2N, Quantity.LATENCY)
    assert settings.reward.annealing is Annealing.LINEAR
    assert settings.space.kernels is True
    assert settings.importance.criterion is Criterion.NORM_SCALE
    assert (settings.ladder.steps, settings.ladder.share, settings.course.batch_size) == ((0, 10), 0.5, 16)
    assert settings.training.peak_rate == 0.05
    assert (settings.training.loss.kind, settings.training.loss.temperature) == (LossKind.L2, 2.0)


def test_settings_are_those_of_the_engine() -> None:
    assert read_settings(["search.method=actor-critic"], "n2n").search.method is Method.ACTOR_CRITIC
    with pytest.raises(UsageError, match="no such setting"):
        read_settings(["search.method=actor-critic"], "rl-pruner")


@pytest.mark.parametrize(
    ("assignment", "culprit"),
    [
        ("search.sampels=5", "did you mean 'search.samples'"),
        ("search.samples", "has no value"),
        ("search.samples=many", "expected a number"),
        ("search.samples=0", "'samples' is 0"),
        ("reward.kind=best", "rl-pruner, n2n"),
        ("search.stop_when_met=yes", "true or false"),
        ("ladder.steps=0,x", "expected a number"),
        ("ladder.steps=20,10", "ascending"),
        ("reward.constraints=x", "no such setting"),
        ("training.epochs=3", "no such setting"),
    ],
)
def test_mistakes_are_named(assignment: str, culprit: str) -> None:
    with pytest.raises(UsageError, match=culprit):
        read_settings([assignment], "rl-pruner")


def test_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'magic'; known are joint, n2n"):
        read_settings([], "magic")


def test_views_that_are_asked_for_and_switched_off_are_refused() -> None:
    with pytest.raises(UsageError, match=r"training\.pasted.*training\.augments"):
        read_settings(["training.pasted=0.5", "training.augments=false"], "joint")
    assert not read_settings(["training.augments=false"], "joint").training.augments
