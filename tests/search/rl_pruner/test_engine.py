"""RL-Pruner as a whole: reproducible, resumable, nested, and better than chance where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import load_engine, rl_pruner
from deploycompress.search.costs import NO_CORRECTION, corrected, fits, forecast
from deploycompress.search.engine import Kind, StopReason
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.moves import applied, moves
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import RewardKind, RewardSettings, reward
from deploycompress.search.rl_pruner import RlPrunerSettings, State
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate, Dimension, Space, allowed_widths
from tests.search.toy import TEACHER_ACCURACY, Toy, accuracy_of, latency_of, make_space

LIMIT = parse_constraint("latency_ratio <= 0.6")
LIMITED = RewardSettings(constraints=(LIMIT,))
TINY = RlPrunerSettings(steps=3, step_sparsity=0.1, stages=2, samples=2, adapts=False)


def start(
    chosen: RlPrunerSettings = TINY,
    rewards: RewardSettings = LIMITED,
    *,
    space: Space | None = None,
    evaluations: int = 100,
    seed: int = 0,
) -> State:
    return rl_pruner.init(space or make_space(), rewards, settings=chosen, evaluations=evaluations, seed=seed)


def search(state: State, toy: Toy | None = None, *, limit: int | None = None) -> SearchOutcome[State]:
    return run(
        rl_pruner,
        state,
        toy or Toy(),
        ladder=Ladder(),
        should_stop=lambda: False,
        on_evaluation=lambda *_: None,
        max_evaluations=limit,
    )


def best_of_random(seed: int, evaluations: int = 100) -> float:
    """Draw different candidates by random steps down to the limit, and give the best accuracy that meets it."""
    toy, rng = Toy(), np.random.default_rng(seed)
    seen: dict[Candidate, float] = {}
    correction = NO_CORRECTION
    while len(seen) < evaluations:
        candidate = toy.space.candidate()
        while not fits(toy.space, candidate, [LIMIT], correction):
            steps = moves(toy.space, candidate)
            candidate = applied(toy.space, candidate, steps[rng.integers(len(steps))])
        if candidate not in seen:
            correction = corrected(correction, toy.space, candidate, toy.measure(candidate).metrics)
            seen[candidate] = accuracy_of(candidate) if latency_of(candidate) <= LIMIT.bound else 0.0
    return max(seen.values())


def test_a_hundred_evaluations_are_used_and_end_at_the_limit_better_than_random_ones() -> None:
    found, used = [], []
    for seed in range(5):
        outcome = search(start(RlPrunerSettings(), seed=seed), limit=100)
        assert outcome.reason is StopReason.FINISHED
        assert outcome.is_feasible
        assert outcome.best is not None
        found.append(accuracy_of(outcome.best.proposal.candidate))
        used.append(len(outcome.trace))
    assert 70 <= min(used) <= max(used) <= 100
    assert fmean(found) > fmean(best_of_random(seed) for seed in range(5))


def test_the_distribution_shifts_from_what_is_important_to_what_is_not() -> None:
    policies = np.array([search(start(RlPrunerSettings(), seed=seed), limit=100).state.policy for seed in range(5)])
    important, needless = [0, 3], [1, 2, 4, 5]
    assert (policies[:, important].mean(axis=1) < 1 / 6).all()
    assert (policies[:, needless].mean(axis=1) > 1 / 6).all()
    assert all(len(one) == 6 and sum(one) == pytest.approx(1) for one in policies)


def test_blocks_go_at_width_zero_and_stay_where_that_is_forbidden() -> None:
    deep = search(start(RlPrunerSettings(), evaluations=30), limit=30)
    assert any(entry.proposal.candidate.remove for entry in deep.trace)
    flat = search(start(RlPrunerSettings(removes_blocks=False), evaluations=30), limit=30)
    assert flat.is_feasible
    assert not any(entry.proposal.candidate.remove for entry in flat.trace)


def test_the_papers_schedule_meets_the_limit_step_by_step() -> None:
    chosen = RlPrunerSettings(steps=5, stages=3, samples=4, adapts=False)
    outcome = search(start(chosen))
    advanced = [entry for entry in outcome.trace if entry.proposal.kind is Kind.ADVANCE]
    ratios = [entry.evaluation.metrics["latency_ratio"] for entry in advanced]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 0.85
    assert outcome.is_feasible
    assert ratios[-1] == pytest.approx(0.6, abs=0.05)


def test_samples_before_the_last_step_are_judged_and_learnt_from_although_they_break_the_limit() -> None:
    state = start(replace(TINY, stages=1), replace(LIMITED, annealing=Annealing.HARD))
    before = state.policy
    for _ in range(2):
        proposal = rl_pruner.ask(state)
        assert proposal.needs_accuracy
        evaluation = Toy().judge(proposal.candidate, Toy().measure(proposal.candidate), 0)
        assert not LIMIT.is_met(evaluation.metrics)
        state = rl_pruner.tell(state, proposal, evaluation, -1.0)
    assert state.policy != before


def test_hopeless_samples_of_the_last_step_teach_nothing() -> None:
    state = start(replace(TINY, steps=1))
    before = state.policy
    while (proposal := rl_pruner.ask(state)).kind is Kind.SAMPLE:
        assert not proposal.needs_accuracy
        evaluation = Evaluation(metrics={"latency_ratio": 0.7}, teacher_accuracy=TEACHER_ACCURACY)
        state = rl_pruner.tell(state, proposal, evaluation, -1.0)
    assert state.policy == before
    assert state.margin > 0


def test_the_cut_of_a_short_search_is_its_best_sample() -> None:
    outcome = search(start(RlPrunerSettings(), evaluations=40), limit=40)
    cut = outcome.trace[-1]
    samples = [entry for entry in outcome.trace if entry.proposal.kind is Kind.SAMPLE]
    assert cut.proposal.kind is Kind.ADVANCE
    best = max(entry.reward for entry in samples)
    assert cut.proposal.candidate in [entry.proposal.candidate for entry in samples if entry.reward == best]


def test_what_rounding_leaves_of_the_limit_is_given_back() -> None:
    whole = make_space()
    uneven = replace(  # the channels of some groups cost five times as much as those of others
        whole,
        dimensions=tuple(
            replace(
                one, savings=tuple({"latency_ratio": 0.03 * (1 + index % 5) * (1 - w / 64)} for w in (16, 32, 48, 64))
            )
            for index, one in enumerate(whole.dimensions)
        ),
    )
    foreseen: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(10):
        for fills, ratios in foreseen.items():
            state = start(replace(TINY, steps=1, fills_limit=fills), space=uneven, seed=seed)
            ratios.append(forecast(uneven, rl_pruner.ask(state).candidate)["latency_ratio"])
    assert all(before <= after <= 0.6 for before, after in zip(foreseen[False], foreseen[True], strict=True))
    assert fmean(foreseen[True]) > fmean(foreseen[False]) + 0.003


def test_without_a_table_steps_follow_until_the_limit_is_met() -> None:
    whole = make_space()
    silent = Space(
        layers=whole.layers,
        removals=tuple(replace(one, savings={}) for one in whole.removals),
        dimensions=tuple(replace(one, savings=()) for one in whole.dimensions),
    )
    outcome = search(start(RlPrunerSettings(stop_when_met=True), space=silent), Toy(space=silent), limit=200)
    advanced = [entry for entry in outcome.trace if entry.proposal.kind is Kind.ADVANCE]
    assert outcome.reason is StopReason.FINISHED
    assert outcome.best == advanced[-1]
    assert [LIMIT.is_met(entry.evaluation.metrics) for entry in advanced] == [False] * (len(advanced) - 1) + [True]


def test_the_same_seed_gives_the_same_candidates_and_another_seed_others() -> None:
    first, again, other = (
        [entry.proposal for entry in search(start(RlPrunerSettings(), seed=seed, evaluations=30), limit=30).trace]
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("chosen", [TINY, replace(TINY, sample_steps=2), RlPrunerSettings()])
def test_a_search_killed_anywhere_and_read_from_json_goes_on_as_if_nothing_happened(chosen: RlPrunerSettings) -> None:
    saved: list[tuple[str, TraceEntry]] = []
    whole = run(
        rl_pruner,
        start(chosen, evaluations=20),
        Toy(),
        ladder=Ladder(),
        should_stop=lambda: False,
        on_evaluation=lambda entry, state: saved.append((state.to_json(), entry)),
    )
    assert len(saved) > 10
    for number in range(1, len(saved), 3):
        rest = run(
            rl_pruner,
            rl_pruner.restore(saved[number - 1][0]),
            Toy(),
            ladder=Ladder(),
            should_stop=lambda: False,
            on_evaluation=lambda *_: None,
            trace=[entry for _, entry in saved[:number]],
        )
        assert rest.trace == whole.trace
        assert rest.state == whole.state
        assert (rest.best, rest.reason) == (whole.best, whole.reason)


def test_asking_twice_gives_the_same_proposal_and_json_is_exact() -> None:
    state = start()
    assert rl_pruner.ask(state) == rl_pruner.ask(state) == rl_pruner.ask(rl_pruner.restore(state.to_json()))
    assert rl_pruner.restore(state.to_json()) == state


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(1, 12),
    st.floats(0.02, 0.5),
    st.integers(0, 2**20),
)
def test_without_limits_candidates_are_nested_and_each_step_removes_its_share(
    widths: list[int], quantum: int, sparsity: float, seed: int
) -> None:
    space = Space(
        dimensions=tuple(
            Dimension(group=f"g{number}", width=width, widths=allowed_widths(width, quantum))
            for number, width in enumerate(widths)
        )
    )
    state = start(replace(TINY, step_sparsity=sparsity), RewardSettings(), space=space, seed=seed)
    full = {dimension.group: dimension.width for dimension in space.dimensions}
    whole = sum(dimension.width for dimension in space.free)
    room = whole - sum(dimension.widths[0] for dimension in space.free)
    current: Mapping[str, int] = full
    while state.stop is None:
        proposal = rl_pruner.ask(state)
        widths_now = {**full, **proposal.candidate.widths}
        assert all(widths_now[group] <= current[group] for group in full)
        current = widths_now if proposal.kind is Kind.ADVANCE else current
        evaluation = Evaluation(metrics={"accuracy": 0.5}, teacher_accuracy=TEACHER_ACCURACY)
        state = rl_pruner.tell(state, proposal, evaluation, 0.5)
        assert sum(state.policy) == pytest.approx(1)
        assert min(state.policy) > 0
        assert whole - sum(state.widths) == pytest.approx(min(state.step * sparsity * whole, room), abs=1e-6)


def test_a_proposal_of_another_state_is_refused() -> None:
    state = start()
    proposal = rl_pruner.ask(state)
    evaluation = Toy().measure(proposal.candidate)
    later = rl_pruner.tell(state, proposal, evaluation, -1.0)
    with pytest.raises(ValueError, match="not made by this state"):
        rl_pruner.tell(later, proposal, evaluation, -1.0)


def test_a_space_without_choice_ends_at_once() -> None:
    space = Space(dimensions=(Dimension(group="g", width=4, widths=(4,)),))
    state = start(RlPrunerSettings(), space=space)
    assert state.stop is StopReason.EXHAUSTED
    assert state.entropy == 0
    with pytest.raises(ValueError, match="nothing can shrink"):
        rl_pruner.ask(state)


def test_progress_goes_from_zero_to_one_with_the_steps() -> None:
    seen = [entry.proposal.progress for entry in search(start(replace(TINY, steps=5))).trace]
    assert sorted(set(seen)) == [0, 0.25, 0.5, 0.75, 1]
    assert seen == sorted(seen)


def test_entropy_starts_at_that_of_even_shares_and_falls() -> None:
    state = start(RlPrunerSettings())
    assert state.entropy == pytest.approx(np.log(6))
    assert search(state, limit=100).state.entropy < np.log(6) - 0.01


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema":99}', "null", '{"schema":2,"engine":"n2n","state":{}}'])
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        rl_pruner.restore(text)


def test_the_engine_is_found_by_name() -> None:
    assert load_engine("rl-pruner") is rl_pruner


def test_n2ns_reward_drives_the_same_engine() -> None:
    outcome = search(start(RlPrunerSettings(), RewardSettings(kind=RewardKind.N2N, constraints=(LIMIT,))), limit=100)
    assert outcome.is_feasible
    assert outcome.best is not None
    measured = outcome.best.evaluation.metrics
    compression = 1 - measured["params_ratio"]
    expected = compression * (2 - compression) * measured["accuracy"] / TEACHER_ACCURACY
    assert reward(outcome.best.evaluation, LIMITED) != pytest.approx(expected)
    assert reward(outcome.best.evaluation, outcome.state.reward_settings) == pytest.approx(expected)


def test_failed_students_do_not_end_the_search() -> None:
    class Failing(Toy):
        def measure(self, candidate: Candidate) -> Evaluation:
            evaluation = super().measure(candidate)
            if len(self.measured) % 3:
                return evaluation
            return Evaluation(metrics={}, teacher_accuracy=TEACHER_ACCURACY, failure="the child process died")

    outcome = search(start(RlPrunerSettings(), evaluations=40), Failing(), limit=40)
    failed = [entry for entry in outcome.trace if entry.evaluation.failure]
    assert outcome.is_feasible
    assert failed
    assert all(entry.reward == -1 for entry in failed if entry.proposal.kind is Kind.SAMPLE)
