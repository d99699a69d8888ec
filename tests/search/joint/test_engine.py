"""The joint engine on the toy: better than chance, in balance while it surveys, and it hands on what it learnt."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import joint, load_engine
from deploycompress.search.fidelity import Ladder
from deploycompress.search.joint import Settings, State
from deploycompress.search.loop import run
from deploycompress.search.n2n import policy_file
from deploycompress.search.n2n.policy_file import Policies
from deploycompress.search.n2n.weights import from_text
from deploycompress.search.outcome import SearchOutcome
from deploycompress.search.reward import RATIO_METRICS, Quantity, RewardKind, RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate, Space
from tests.search.toy import IMPORTANCE, Toy, latency_of, make_space

SEEDS = range(5)


def rewarded(limit: float = 0.6) -> RewardSettings:
    return RewardSettings(constraints=(parse_constraint(f"latency_ratio <= {limit}"),), annealing=Annealing.HARD)


def begun(space: Space, *, evaluations: int = 60, seed: int = 0, policies: str = "") -> State:
    settings = Settings(policies=policies)
    return joint.init(space, rewarded(), settings=settings, evaluations=evaluations, seed=seed)


def searched(
    name: str = "joint",
    *,
    limit: float = 0.6,
    evaluations: int = 60,
    seed: int = 0,
    rewards: RewardSettings | None = None,
    space: Space | None = None,
    most: int | None = None,
    settings: Settings | None = None,
) -> SearchOutcome[State]:
    engine, space = load_engine(name), space or make_space()
    settings = settings or engine.Settings()  # type: ignore[attr-defined]
    state = engine.init(space, rewards or rewarded(limit), settings=settings, evaluations=evaluations, seed=seed)
    return run(
        engine,
        state,
        Toy(space=space),
        ladder=Ladder(steps=(0, 20, 60)),
        should_stop=lambda: False,
        on_evaluation=lambda _entry, _state: None,
        max_evaluations=most or evaluations,
    )


def answered(state: State, evaluation: Evaluation, reward: float) -> State:
    return joint.tell(state, joint.ask(state), evaluation, reward)


def judged(state: State, reward: float = 0.8) -> State:
    """Answer with a student that meets the limit."""
    metrics = {"latency_ratio": 0.55, "accuracy": reward}
    return answered(state, Evaluation(metrics=metrics, teacher_accuracy=0.95), reward)


def mean_of_best(name: str, limit: float) -> float:
    outcomes = [searched(name, limit=limit, seed=seed) for seed in SEEDS]
    assert all(outcome.is_feasible for outcome in outcomes)
    return statistics.mean(outcome.best.reward for outcome in outcomes if outcome.best is not None)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.6, 0.5, 0.4])
def test_it_beats_random_search(limit: float) -> None:
    assert mean_of_best("joint", limit) > mean_of_best("random", limit)


@pytest.fixture(scope="module")
def candidates() -> tuple[Candidate, ...]:
    return tuple(entry.proposal.candidate for entry in searched().trace)


def test_it_proposes_nothing_twice_and_stays_near_the_limit(candidates: Sequence[Candidate]) -> None:
    assert len(set(candidates)) == len(candidates) == 60
    ratios = [latency_of(candidate) for candidate in candidates]
    assert sum(ratio <= 0.6 for ratio in ratios) > 0.6 * len(ratios)
    assert statistics.mean(ratios) > 0.5


def test_the_survey_tries_everything_about_equally_often() -> None:
    evaluations = 120
    settings = Settings(singles_share=0.0)
    surveyed = int(settings.survey_share * evaluations)
    outcome = searched(evaluations=evaluations, most=surveyed, settings=settings)
    candidates = [entry.proposal.candidate for entry in outcome.trace]
    removed = [sum(f"b{block}" in one.remove for one in candidates) for block in range(len(IMPORTANCE))]
    narrowed = [sum(f"g{block}" in one.widths for one in candidates) for block in range(len(IMPORTANCE))]
    for counts in (removed, narrowed):
        assert min(counts) > 0.5 * statistics.mean(counts)
        assert max(counts) < 1.7 * statistics.mean(counts)


def test_after_the_survey_it_prefers_what_costs_little(candidates: Sequence[Candidate]) -> None:
    """Blocks 1, 2, 4 and 5 of the toy are worth next to nothing, blocks 0 and 3 most of the accuracy."""
    late = candidates[30:]
    gone = [statistics.mean(f"b{block}" in one.remove for one in late) for block in range(len(IMPORTANCE))]
    assert statistics.mean((gone[0], gone[3])) < 0.5 * statistics.mean((gone[1], gone[2], gone[4], gone[5]))


def test_every_tensor_of_the_policy_learns_in_a_search() -> None:
    before, after = from_text(begun(make_space()).weights), from_text(searched(evaluations=30).state.weights)
    assert [name for name in before if torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize(
    ("blocks", "has_groups", "has_blocks"), [(6, False, True), (6, True, False), (1, False, True), (1, True, False)]
)
def test_odd_spaces_are_searched_to_their_end(blocks: int, has_groups: bool, has_blocks: bool) -> None:
    whole = make_space(blocks)
    space = replace(
        whole, removals=whole.removals if has_blocks else (), dimensions=whole.dimensions if has_groups else ()
    )
    outcome = searched(space=space, limit=0.9, evaluations=20)
    assert outcome.best is not None
    assert len(outcome.trace) <= 20


def test_a_failed_measurement_changes_nothing_but_the_pace() -> None:
    """What the engine holds of the teacher is not the failed student's."""
    state = begun(make_space())
    for reward in (0.8, 0.7, 0.6, 0.75):
        state = judged(state, reward)
    before = state.whole
    for failed in (
        Evaluation(metrics={}, teacher_accuracy=0.95, failure="The device was unplugged."),
        Evaluation(metrics={"latency_ratio": float("nan")}, teacher_accuracy=0.95),
    ):
        state = answered(state, failed, -1.0)
        assert state.whole == before == 0.95


@pytest.mark.parametrize("kind", list(RewardKind))
def test_without_a_table_every_reward_is_searched_for(kind: RewardKind) -> None:
    whole = make_space()
    space = replace(
        whole,
        teacher={},
        removals=tuple(replace(one, savings={}) for one in whole.removals),
        dimensions=tuple(replace(one, savings=()) for one in whole.dimensions),
    )
    rewards = replace(rewarded(), kind=kind, quantity=Quantity.PARAMS, beta=0.25)
    outcome = searched(space=space, rewards=rewards, evaluations=15)
    assert "params_ratio" in RATIO_METRICS.values()
    assert len(outcome.trace) == 15
    assert joint.restore(outcome.state.to_json()) == outcome.state


def test_policies_start_a_search_in_another_space() -> None:
    policies = joint.policies_of(searched(evaluations=20).state)
    text = policy_file.to_text(policies)
    larger, deeper = begun(make_space(12), policies=text), begun(make_space(12))
    learnt = from_text(policies.removal)
    assert larger.settings.policies == ""
    found, fresh = from_text(larger.weights), from_text(deeper.weights)
    assert all(torch.equal(found[name], tensor) for name, tensor in learnt.items())
    assert not all(torch.equal(fresh[name], tensor) for name, tensor in learnt.items())
    for _ in range(12):
        larger = judged(larger, 0.7)
    assert larger.stop is None


def test_the_policies_are_those_that_the_n2n_engine_reads() -> None:
    text = policy_file.to_text(joint.policies_of(begun(make_space())))
    engine = load_engine("n2n")
    settings = engine.Settings(policies=text)  # type: ignore[attr-defined]
    state = engine.init(make_space(12), rewarded(), settings=settings, evaluations=20, seed=0)
    assert from_text(state.removal).keys() == from_text(policy_file.from_text(text).removal).keys()


def test_policies_without_a_removal_policy_leave_the_start_as_it_is() -> None:
    text = policy_file.to_text(Policies())
    assert from_text(begun(make_space(), policies=text).weights).keys() == from_text(begun(make_space()).weights).keys()


@pytest.mark.parametrize("text", ["no base 64!", "bm9uZQ=="])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="policies"):
        begun(make_space(), policies=text)


def test_no_evaluation_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 evaluation"):
        begun(make_space(), evaluations=0)
