"""N2N on the toy: pure, restorable, within its budget, and it learns."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import n2n
from deploycompress.search.engine import StopReason
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.n2n import policy_file
from deploycompress.search.n2n.removal import keep_probabilities
from deploycompress.search.n2n.settings import Method, Settings
from deploycompress.search.n2n.state import Stage, State
from deploycompress.search.n2n.weights import from_text
from deploycompress.search.outcome import SearchOutcome
from deploycompress.search.reward import RewardKind, RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Space
from tests.search.toy import Toy, latency_of, make_space

LIMIT = parse_constraint("latency_ratio <= 0.6")
HARD = RewardSettings(constraints=(LIMIT,), annealing=Annealing.HARD)
N2N_REWARD = RewardSettings(kind=RewardKind.N2N, constraints=(), annealing=Annealing.HARD)
PAPER = Settings(epochs=1, memory=1, trust=0.0, normalises=False, meets_limits=False)


def _searched(
    settings: Settings, *, evaluations: int, seed: int = 0, reward: RewardSettings = HARD, space: Space | None = None
) -> SearchOutcome[State]:
    space = space or make_space()
    return run(
        n2n,
        n2n.init(space, reward, settings=settings, evaluations=evaluations, seed=seed),
        Toy(space=space),
        ladder=Ladder(steps=(60,)),
        should_stop=lambda: False,
        on_evaluation=lambda _entry, _state: None,
        max_evaluations=evaluations,
    )


def _answered(state: State, reward: float, ratio: float = 0.5) -> State:
    evaluation = Evaluation(metrics={"latency_ratio": ratio, "accuracy": 0.5}, teacher_accuracy=0.9)
    return n2n.tell(state, n2n.ask(state), evaluation, reward)


def test_the_papers_numbers_are_the_defaults() -> None:
    settings = Settings()
    assert (settings.rollouts, settings.method, settings.entropy_weight) == (5, Method.REINFORCE, 0.0)
    assert (settings.removal_learning_rate, settings.shrinkage_learning_rate) == (0.003, 0.1)


def test_asking_changes_nothing_and_another_question_is_refused() -> None:
    state = n2n.init(make_space(), HARD, settings=Settings(), evaluations=20, seed=1)
    assert n2n.ask(state) == n2n.ask(state)
    other = replace(n2n.ask(state), step=7)
    with pytest.raises(ValueError, match="another question"):
        n2n.tell(state, other, Evaluation(metrics={}, teacher_accuracy=0.9), 0.0)


@pytest.mark.parametrize("method", list(Method))
def test_a_restored_search_goes_on_as_if_it_had_never_stopped(method: Method) -> None:
    settings = Settings(method=method)
    straight = n2n.init(make_space(), HARD, settings=settings, evaluations=24, seed=2)
    restored = straight
    stages = set()
    for turn in range(23):
        restored = n2n.restore(restored.to_json())
        assert restored == straight
        stages.add(straight.stage)
        straight, restored = (_answered(state, 0.1 * (turn % 7)) for state in (straight, restored))
    assert stages == {Stage.REMOVAL, Stage.SHRINKAGE}


def test_the_second_stage_shrinks_the_best_of_the_first() -> None:
    outcome = _searched(Settings(), evaluations=30)
    first = [entry for entry in outcome.trace if entry.proposal.step < 3]
    second = [entry for entry in outcome.trace if entry.proposal.step >= 3]
    best = max(first, key=lambda entry: entry.reward)
    assert {entry.proposal.candidate.remove for entry in second} == {best.proposal.candidate.remove}
    assert outcome.reason is StopReason.FINISHED
    assert len(outcome.trace) == 30
    with pytest.raises(ValueError, match="over"):
        n2n.ask(outcome.state)


def test_a_budget_below_one_update_still_ends_both_stages() -> None:
    for evaluations in (1, 2, 3):
        outcome = _searched(Settings(), evaluations=evaluations)
        assert len(outcome.trace) == evaluations
        assert outcome.reason is StopReason.FINISHED


def test_a_policy_that_repeats_itself_ends() -> None:
    space = make_space(1)
    outcome = _searched(Settings(), evaluations=200, space=replace(space, dimensions=()), reward=N2N_REWARD)
    assert len(outcome.trace) <= 2
    assert outcome.reason is StopReason.FINISHED


def test_nothing_but_widths_starts_with_the_second_stage_and_nothing_but_blocks_stays_in_the_first() -> None:
    space = make_space()
    widths = _searched(Settings(), evaluations=10, space=replace(space, removals=()))
    assert {entry.proposal.candidate.remove for entry in widths.trace} == {()}
    assert widths.state.stage is Stage.SHRINKAGE
    blocks = _searched(Settings(), evaluations=10, space=replace(space, dimensions=()))
    assert blocks.state.stage is Stage.REMOVAL
    assert not any(entry.proposal.candidate.widths for entry in blocks.trace)
    with pytest.raises(UsageError, match="Nothing can be removed"):
        n2n.init(Space(), HARD, settings=Settings(), evaluations=10, seed=0)


def test_rollouts_start_at_the_limit() -> None:
    outcome = _searched(Settings(), evaluations=60)
    ratios = [latency_of(entry.proposal.candidate) for entry in outcome.trace]
    assert 0.5 < statistics.mean(ratios) < 0.62
    assert sum(ratio <= 0.6 for ratio in ratios) > 0.6 * len(ratios)


def test_without_a_table_nothing_is_foreseen_and_it_still_runs() -> None:
    space = replace(make_space(), teacher={})
    outcome = _searched(Settings(), evaluations=20, space=space)
    assert len(outcome.trace) == 20
    assert len({len(entry.proposal.candidate.remove) for entry in outcome.trace}) > 1


def test_degenerate_students_lower_the_baseline_and_do_no_harm() -> None:
    state = n2n.init(make_space(), HARD, settings=Settings(), evaluations=40, seed=0)
    for _ in range(15):
        state = _answered(state, -1.0, ratio=0.9)
    assert state.baseline == -1.0
    assert state.reserve > 0
    assert state.best_reward == -1.0
    assert all(bool(tensor.isfinite().all()) for tensor in from_text(state.removal).values())


def test_every_tensor_of_both_policies_learns_in_a_search() -> None:
    start = n2n.init(make_space(), N2N_REWARD, settings=Settings(), evaluations=40, seed=0)
    outcome = _searched(Settings(), evaluations=40, reward=N2N_REWARD)
    before, after = from_text(start.removal), from_text(outcome.state.removal)
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    middle = start
    while middle.stage is Stage.REMOVAL:
        middle = _answered(middle, 0.1 * (middle.told % 3))
    shrinkage = middle
    while shrinkage.updates < 2:
        shrinkage = _answered(shrinkage, 0.1 * (shrinkage.told % 3))
    before, after = from_text(middle.shrinkage), from_text(shrinkage.shrinkage)
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("method", [Method.REINFORCE, pytest.param(Method.ACTOR_CRITIC, marks=pytest.mark.slow)])
def test_it_learns(method: Method) -> None:
    gains = []
    for seed in range(3):
        outcome = _searched(Settings(method=method, removal_share=1.0), evaluations=110, seed=seed)
        rewards = [entry.reward for entry in outcome.trace]
        gains.append(statistics.mean(rewards[-20:]) - statistics.mean(rewards[:20]))
    assert statistics.mean(gains) > 0.1


def test_a_trained_policy_starts_a_larger_teacher_with_what_it_learnt() -> None:
    """Block 0 and 3 of the toy are dear: what the policy thinks of the others' places is found in a deeper network."""
    outcome = _searched(Settings(removal_share=1.0), evaluations=100)
    policies = n2n.policies_of(outcome.state)
    text = policy_file.to_text(policies)
    large = n2n.init(make_space(12), HARD, settings=Settings(policies=text), evaluations=20, seed=9)
    scratch = n2n.init(make_space(12), HARD, settings=Settings(), evaluations=20, seed=9)
    assert large.settings.policies == ""
    old = keep_probabilities(from_text(policies.removal), make_space())
    new = keep_probabilities(from_text(large.removal), make_space(12))
    untrained = keep_probabilities(from_text(scratch.removal), make_space(12))
    matched = [new[2 * index] for index in range(6)]

    def likeness(other: list[float]) -> float:
        return statistics.correlation(list(old), other)

    assert likeness(matched) > 0.7
    assert likeness(matched) > likeness([untrained[2 * index] for index in range(6)])


def test_the_papers_algorithm_to_the_letter_runs_under_annealed_constraints() -> None:
    outcome = _searched(PAPER, evaluations=30, reward=replace(HARD, annealing=Annealing.LINEAR))
    assert len(outcome.trace) == 30
    progress = [entry.proposal.progress for entry in outcome.trace]
    assert progress == sorted(progress)
    assert progress[0] == 0.0
