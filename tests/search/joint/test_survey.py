"""The survey: every choice alone where there is room, several at once where there is not."""

from __future__ import annotations

import math

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.search import joint
from deploycompress.search.fidelity import Ladder
from deploycompress.search.joint import Settings, State, survey
from deploycompress.search.joint.choices import number
from deploycompress.search.loop import run
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from tests.search.toy import IMPORTANCE, WIDTH_IMPORTANCE, Toy, climbed, make_space

REWARD = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.6"),), annealing=Annealing.HARD)


def searched(evaluations: int, most: int, settings: Settings) -> State:
    state = joint.init(make_space(), REWARD, settings=settings, evaluations=evaluations, seed=0)
    outcome = run(
        joint,
        state,
        Toy(),
        ladder=Ladder(steps=(0, 20, 60)),
        should_stop=lambda: False,
        on_evaluation=lambda _entry, _state: None,
        max_evaluations=most,
    )
    return outcome.state


def test_with_room_every_choice_is_tried_alone_once() -> None:
    choices = number(make_space())
    tried = survey.singles(choices)
    assert [int(choices.gone(one).nonzero()[0].item()) for one in tried] == list(range(len(choices)))
    state = searched(60, len(choices), Settings())
    assert sorted(state.singles) == list(range(len(choices)))
    assert not survey.is_on(state)


def test_singles_are_losses_of_the_whole_choice() -> None:
    """The toy says what each block costs alone; a group's loss is that of half its width, times four."""
    state = searched(60, 2 * len(IMPORTANCE), Settings())
    whole = 0.95 - climbed(0.95, 0)  # the toy's students are judged untrained, its teacher trained
    for block, importance in enumerate(IMPORTANCE):
        untrained = climbed(0.95 * math.exp(-importance), 0)
        assert state.singles[block] == pytest.approx(0.95 - untrained)
        narrowed = climbed(0.95 * math.exp(-WIDTH_IMPORTANCE[block] / 4), 0)
        assert state.singles[len(IMPORTANCE) + block] == pytest.approx(4 * (0.95 - narrowed))
    assert min(state.singles.values()) > whole


def test_without_room_several_are_tried_at_once() -> None:
    state = searched(12, 3, Settings(singles_share=0.5))
    assert survey.length(state) == int(0.25 * 12)
    assert survey.next_single(state) is None
    assert state.singles == {}
