"""RL-Pruner as a whole: reproducible, resumable, nested, and better than uniform where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import ENGINES, load_engine, rl_pruner
from deploycompress.search.engine import Kind, StopReason
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import RewardKind, RewardSettings, reward, worth_training
from deploycompress.search.rl_pruner import RlPrunerSettings, State, merge_steps
from deploycompress.search.schedules import Annealing
from tests.search.toy import TEACHER_ACCURACY, ToyEnvironment, always, ignore, make_space, never

WIDTHS = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
SENSITIVITIES = [0.1, 0.3, 0.02, 0.1, 0.6, 0.05, 0.1, 0.02, 0.3, 0.04]
TINY = RlPrunerSettings(steps=3, step_sparsity=0.1, stages=2, samples=2)


def start(
    chosen: RlPrunerSettings = TINY,
    rewards: RewardSettings | None = None,
    *,
    quantum: int = 1,
    seed: int = 0,
) -> tuple[State, ToyEnvironment]:
    environment = ToyEnvironment(make_space(WIDTHS, quantum), SENSITIVITIES)
    state = rl_pruner.init(environment.space, chosen, rewards or RewardSettings(), seed, environment.scores())
    return state, environment


def search(
    state: State,
    environment: ToyEnvironment,
    *,
    should_stop: Callable[[], bool] = never,
    limit: int | None = None,
) -> SearchOutcome[State]:
    return run(
        rl_pruner,
        state,
        environment,
        should_stop=should_stop,
        on_evaluation=ignore,
        max_evaluations=limit,
    )


def uniform_accuracy(ratio: float) -> float:
    return TEACHER_ACCURACY - sum(SENSITIVITIES) * (1 - ratio) ** 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("quantum", [1, 4, 8])
def test_the_learnt_distribution_spares_what_is_sensitive_and_beats_uniform(seed: int, quantum: int) -> None:
    chosen = RlPrunerSettings(steps=10, step_sparsity=0.05)
    state, environment = start(chosen, quantum=quantum, seed=seed)
    last = search(state, environment).trace[-1]
    plan = last.proposal.plan
    ratio = environment.channel_ratio(plan)
    removed = dict(zip(SENSITIVITIES, environment.removed_shares(plan), strict=True))
    assert last.proposal.kind is Kind.ADVANCE
    assert ratio == pytest.approx(0.5, abs=quantum / sum(WIDTHS))
    assert min(removed[0.02], removed[0.04]) > 1 - ratio > max(removed[0.3], removed[0.6])
    recovered_uniform = (TEACHER_ACCURACY + uniform_accuracy(ratio)) / 2
    assert reward(last.evaluation, state.reward_settings) > recovered_uniform + 0.05


@pytest.mark.parametrize("quantum", [4, 8, 16])
@pytest.mark.parametrize("seed", range(4))
def test_steps_below_the_quantum_are_merged_and_beat_uniform(seed: int, quantum: int) -> None:
    fine = RlPrunerSettings(steps=50, step_sparsity=0.01)
    merged = merge_steps(fine, make_space(WIDTHS, quantum))
    assert merged.steps < fine.steps
    state, environment = start(merged, quantum=quantum, seed=seed)
    plan = search(state, environment).trace[-1].proposal.plan
    free = [w for d, w in zip(environment.space.dimensions, WIDTHS, strict=True) if d.is_free]
    removed_channels = sum(WIDTHS) - sum(WIDTHS) * environment.channel_ratio(plan)
    assert removed_channels == pytest.approx(sum(free) / 2, abs=quantum)
    uniform = TEACHER_ACCURACY - sum(
        s * (removed_channels / sum(free)) ** 2
        for s, d in zip(SENSITIVITIES, environment.space.dimensions, strict=True)
        if d.is_free
    )
    assert environment.raw_accuracy(plan) > uniform + 0.02


def test_deeper_trajectories_learn_too() -> None:
    chosen = RlPrunerSettings(steps=8, step_sparsity=0.06, stages=6, samples=4, sample_steps=2)
    state, environment = start(chosen, seed=3)
    plan = search(state, environment).trace[-1].proposal.plan
    assert environment.raw_accuracy(plan) > uniform_accuracy(environment.channel_ratio(plan)) + 0.1


def test_the_same_seed_gives_the_same_plans_and_another_seed_others() -> None:
    calls = []
    for seed in (5, 5, 6):
        state, environment = start(seed=seed)
        search(state, environment)
        calls.append(environment.calls)
    assert calls[0] == calls[1]
    assert calls[0] != calls[2]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("quantum", [1, 8])
def test_a_search_killed_anywhere_and_read_from_json_goes_on_as_if_nothing_happened(depth: int, quantum: int) -> None:
    chosen = replace(TINY, sample_steps=depth)
    limits = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.6"),))
    state, environment = start(chosen, limits, quantum=quantum)
    saved: list[tuple[str, TraceEntry, Mapping[str, tuple[int, ...]]]] = []

    def save(entry: TraceEntry, state: State) -> None:
        saved.append((state.to_json(), entry, dict(environment.kept)))

    whole = run(rl_pruner, state, environment, should_stop=never, on_evaluation=save)
    assert len(saved) == whole.evaluations > 10
    for number, (text, _, kept) in enumerate(saved, start=1):
        _, other = start(chosen, limits, quantum=quantum)
        other.kept = dict(kept)
        rest = run(
            rl_pruner,
            State.from_json(text),
            other,
            should_stop=never,
            on_evaluation=ignore,
            trace=[entry for _, entry, _ in saved[:number]],
        )
        assert rest.trace == whole.trace
        assert rest.state == whole.state
        assert (rest.plan, rest.reason) == (whole.plan, whole.reason)


def test_asking_twice_gives_the_same_proposal_and_json_is_exact() -> None:
    state, _ = start()
    assert rl_pruner.ask(state) == rl_pruner.ask(state) == rl_pruner.ask(State.from_json(state.to_json()))
    assert State.from_json(state.to_json()) == state


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(1, 12),
    st.floats(0.02, 0.5),
    st.integers(0, 2**20),
)
def test_plans_are_nested_allowed_and_the_policy_stays_a_distribution(
    widths: list[int], quantum: int, sparsity: float, seed: int
) -> None:
    environment = ToyEnvironment(make_space(widths, quantum), [0.1] * len(widths))
    chosen = RlPrunerSettings(steps=3, step_sparsity=sparsity, stages=2, samples=2)
    state = rl_pruner.init(environment.space, chosen, RewardSettings(), seed, environment.scores())
    allowed = {d.group: d.widths for d in environment.space.dimensions}
    free = sum(d.width for d in environment.space.free)
    current: Mapping[str, tuple[int, ...]] = {}
    room = free - sum(d.widths[0] for d in environment.space.free)
    while state.stop is None:
        proposal = rl_pruner.ask(state)
        for group, kept in current.items():
            assert set(proposal.plan.keep[group]) <= set(kept)
        assert all(len(kept) in allowed[group] for group, kept in proposal.plan.keep.items())
        is_advance = proposal.kind is Kind.ADVANCE
        act = environment.advance if is_advance else environment.evaluate
        evaluation = act(proposal.plan, always)
        current = proposal.plan.keep if is_advance else current
        state = rl_pruner.tell(state, proposal, evaluation, environment.scores() if is_advance else None)
        assert sum(state.policy) == pytest.approx(1)
        assert min(state.policy) > 0
        removed = min(state.step * sparsity * free, room)
        assert free - sum(state.widths) == pytest.approx(removed, abs=1e-6)


def test_a_proposal_of_another_state_is_refused() -> None:
    state, environment = start()
    proposal = rl_pruner.ask(state)
    evaluation = environment.evaluate(proposal.plan, always)
    later = rl_pruner.tell(state, proposal, evaluation)
    with pytest.raises(ValueError, match="not made by this state"):
        rl_pruner.tell(later, proposal, evaluation)


def test_a_space_without_choice_ends_at_once() -> None:
    environment = ToyEnvironment(make_space([4, 8], 16), [0.1, 0.1])
    state = rl_pruner.init(environment.space, TINY, RewardSettings(), 0, environment.scores())
    outcome = search(state, environment)
    assert (outcome.reason, outcome.plan, outcome.evaluations) == (StopReason.EXHAUSTED, None, 0)


def test_without_annealing_hopeless_samples_teach_nothing_and_are_not_trained() -> None:
    limits = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.3"),), annealing=Annealing.HARD)
    state, environment = start(TINY, limits)
    policy = state.policy
    while state.stop is None and rl_pruner.ask(state).kind is Kind.SAMPLE:
        proposal = rl_pruner.ask(state)
        worth: Callable[[Mapping[str, float]], bool] = lambda m: worth_training(m, limits, proposal.progress)  # noqa: B023, E731
        state = rl_pruner.tell(state, proposal, environment.evaluate(proposal.plan, worth))
    assert environment.trained == 0
    assert state.policy == policy


def test_samples_that_round_to_the_current_student_teach_nothing() -> None:
    state, environment = start(RlPrunerSettings(steps=50, step_sparsity=0.002, stages=2, samples=2), quantum=16)
    policy = state.policy
    for _ in range(4):
        proposal = rl_pruner.ask(state)
        assert proposal.plan.is_empty
        state = rl_pruner.tell(state, proposal, environment.evaluate(proposal.plan, always))
    assert state.policy == policy
    assert state.step == 1  # the cut changed nothing either, so nobody was asked to distil


def test_progress_goes_from_zero_to_one() -> None:
    state, environment = start(replace(TINY, steps=5, step_sparsity=0.05))
    seen = [entry.proposal.progress for entry in search(state, environment).trace]
    assert sorted(set(seen)) == [0, 0.25, 0.5, 0.75, 1]
    assert seen == sorted(seen)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema":99}', "null"])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        State.from_json(text)


def test_cut_channels_survive_json_as_cut() -> None:
    state, environment = start()
    outcome = search(state, environment)
    scores = State.from_json(outcome.state.to_json()).scores
    assert any(score == -math.inf for row in scores.values() for score in row)
    assert scores == environment.scores()


def test_engines_are_found_by_name_and_unknown_ones_named() -> None:
    assert load_engine("rl-pruner") is rl_pruner
    assert list(ENGINES) == ["rl-pruner"]
    with pytest.raises(UsageError, match="'magic'; known are rl-pruner"):
        load_engine("magic")


def test_n2ns_reward_drives_the_same_engine() -> None:
    state, environment = start(RlPrunerSettings(steps=5, step_sparsity=0.1), RewardSettings(kind=RewardKind.N2N))
    outcome = search(state, environment)
    assert outcome.evaluation is not None
    compression = 1 - outcome.evaluation.metrics["params_ratio"]
    accuracy = outcome.evaluation.metrics["accuracy"]
    found = reward(outcome.evaluation, state.reward_settings)
    assert found == pytest.approx(compression * (2 - compression) * accuracy / TEACHER_ACCURACY)
    assert found == max(
        reward(entry.evaluation, state.reward_settings)
        for entry in outcome.trace
        if entry.proposal.kind is Kind.ADVANCE
    )


def test_a_failed_student_does_not_end_the_search() -> None:
    class Failing(ToyEnvironment):
        def evaluate(self, plan, worth_training):  # type: ignore[no-untyped-def]
            if len(self.calls) % 3 == 0:
                self.calls.append(("failed", plan.to_json()))
                return Evaluation(metrics={}, teacher_accuracy=TEACHER_ACCURACY, failure="the child process died")
            return super().evaluate(plan, worth_training)

    environment = Failing(make_space(WIDTHS), SENSITIVITIES)
    state = rl_pruner.init(environment.space, TINY, RewardSettings(), 0, environment.scores())
    outcome = search(state, environment)
    failed = [entry for entry in outcome.trace if entry.evaluation.failure]
    assert outcome.reason is StopReason.FINISHED
    assert failed
    assert all(entry.reward == -1 for entry in failed)
