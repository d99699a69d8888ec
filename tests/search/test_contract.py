"""What every engine promises, whatever it does inside: one suite, on a problem whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import ENGINES, load_engine
from deploycompress.search.engine import Engine, Proposal, StopReason
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate, Dimension, Kernel, Layer, Removal, Space
from tests.search.toy import Toy, latency_of, make_space

LADDER = Ladder(steps=(0, 20, 60))
BUDGET = 60
LIMIT = "latency_ratio <= 0.6"
DETERMINISTIC = ("uniform", "greedy")
AnyEngine = Engine[Any]  # Any: each engine has its own state

each_engine = pytest.mark.parametrize("name", ENGINES)


def rewarded(limit: str = LIMIT, annealing: Annealing = Annealing.HARD) -> RewardSettings:
    return RewardSettings(constraints=(parse_constraint(limit),) if limit else (), annealing=annealing)


def started(
    name: str, space: Space, *, seed: int = 0, evaluations: int = BUDGET, rewards: RewardSettings | None = None
) -> tuple[AnyEngine, Any]:  # Any: the engine's state
    engine = load_engine(name)
    rewards = rewarded() if rewards is None else rewards
    settings: Callable[[], object] = engine.Settings  # type: ignore[attr-defined]
    return engine, engine.init(space, rewards, settings=settings(), evaluations=evaluations, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A search and what was seen of it: the state after each evaluation."""

    outcome: SearchOutcome[Any]  # Any: the engine's state
    states: tuple[Any, ...]

    @property
    def candidates(self) -> list[Candidate]:
        return [entry.proposal.candidate for entry in self.outcome.trace]


def searched(
    engine: AnyEngine,
    state: Any,  # Any: the engine's state
    toy: Toy,
    *,
    limit: int | None = BUDGET,
    trace: tuple[TraceEntry, ...] = (),
    most_questions: int = 5000,
) -> Run:
    states = []
    questions = iter(range(most_questions))
    outcome = run(
        engine,
        state,
        toy,
        ladder=LADDER,
        should_stop=lambda: next(questions, None) is None,
        on_evaluation=lambda _, after: states.append(after),
        max_evaluations=limit,
        trace=trace,
    )
    return Run(outcome=outcome, states=tuple(states))


def whole(name: str, toy: Toy | None = None, **how: Any) -> Run:  # Any: passed on to `started`
    toy = toy or Toy()
    return searched(*started(name, toy.space, **how), toy, limit=how.get("evaluations", BUDGET))


@cache
def looked_at(name: str) -> Run:
    """Give a whole search for tests that only look at it."""
    return whole(name)


@each_engine
def test_a_search_finds_a_student_within_the_limits_and_its_budget(name: str) -> None:
    seen = looked_at(name)
    assert seen.outcome.is_feasible
    assert seen.outcome.best is not None
    assert latency_of(seen.outcome.best.proposal.candidate) <= 0.6
    assert len(seen.candidates) <= BUDGET


@each_engine
@pytest.mark.parametrize("evaluations", [25, 60])
def test_an_engine_ends_by_itself_within_what_it_was_given(name: str, evaluations: int) -> None:
    toy = Toy()
    engine, state = started(name, toy.space, evaluations=evaluations)
    seen = searched(engine, state, toy, limit=None)
    assert seen.outcome.reason is not StopReason.STOPPED
    assert len(seen.candidates) <= evaluations


@each_engine
def test_the_same_seed_proposes_the_same_and_another_seed_something_else(name: str) -> None:
    first, again, other = (whole(name, seed=seed, evaluations=40).candidates for seed in (3, 3, 4))
    assert first == again
    assert name in DETERMINISTIC or first != other


@each_engine
def test_asking_changes_nothing_and_may_be_repeated(name: str) -> None:
    engine, state = started(name, make_space())
    for one in (state, *looked_at(name).states[:10]):
        before = one.to_json()
        assert engine.ask(one) == engine.ask(one)
        assert one.to_json() == before


@each_engine
def test_telling_leaves_the_old_state_as_it_was(name: str) -> None:
    engine, state = started(name, make_space())
    before, proposal = state.to_json(), engine.ask(state)
    evaluation = replace(Toy().measure(proposal.candidate), metrics={"latency_ratio": 0.5, "accuracy": 0.9})
    after = engine.tell(state, proposal, evaluation, 0.9)
    assert state.to_json() == before
    assert after.to_json() == engine.tell(state, proposal, evaluation, 0.9).to_json() != before


@each_engine
@pytest.mark.parametrize("annealing", [Annealing.HARD, Annealing.LINEAR])
def test_a_search_killed_anywhere_and_read_from_json_goes_on_as_if_nothing_happened(
    name: str, annealing: Annealing
) -> None:
    rewards = rewarded(annealing=annealing)
    full = whole(name, rewards=rewards, evaluations=30)
    count = len(full.states)
    for at in sorted({2, count // 2, count - 1}):
        toy, engine = Toy(), load_engine(name)
        state = engine.restore(full.states[at - 1].to_json())
        rest = searched(engine, state, toy, limit=30, trace=full.outcome.trace[:at])
        assert rest.outcome.trace == full.outcome.trace
        assert rest.outcome.state.to_json() == full.outcome.state.to_json()


@each_engine
def test_every_state_comes_back_from_json_to_the_last_digit(name: str) -> None:
    engine, state = started(name, make_space())
    for one in (state, *looked_at(name).states):
        text = one.to_json()
        assert engine.restore(text).to_json() == text
        assert engine.restore(text).stop == one.stop
        assert engine.restore(text).reward_settings == one.reward_settings


@each_engine
def test_an_answer_to_another_question_is_refused(name: str) -> None:
    engine, state = started(name, make_space())
    proposal = engine.ask(state)
    other = replace(proposal, step=proposal.step + 17)
    with pytest.raises(ValueError, match=r"\w"):
        engine.tell(state, other, Evaluation(metrics={"accuracy": 0.5}, teacher_accuracy=0.9), 0.5)


@each_engine
def test_a_search_that_is_over_is_not_asked(name: str) -> None:
    toy = Toy()
    engine, state = started(name, toy.space, evaluations=25)
    end = searched(engine, state, toy, limit=None).outcome.state
    if end.stop is None:
        pytest.fail(f"{name} did not end within its budget.")
    with pytest.raises(ValueError, match=r"\w"):
        engine.ask(end)


@each_engine
def test_only_what_the_space_allows_is_proposed(name: str) -> None:
    space = make_space()
    kernels = tuple(
        Kernel(layer=layer.name, index=index, sizes=(1, 3)) for index, layer in enumerate(space.layers[1:-1], 1)
    )
    toy = Toy(space=replace(space, kernels=kernels))
    seen = whole(name, toy)
    for candidate in seen.candidates:
        again = toy.space.candidate(remove=candidate.remove, widths=candidate.widths, kernels=candidate.kernels)
        assert again == candidate


@each_engine
def test_progress_is_a_share_that_does_not_fall(name: str) -> None:
    progress = [entry.proposal.progress for entry in looked_at(name).outcome.trace]
    assert progress == sorted(progress)
    assert 0 <= progress[0] <= progress[-1] <= 1


class Failing(Toy):
    """Every third measurement fails."""

    def measure(self, candidate: Candidate) -> Evaluation:
        evaluation = super().measure(candidate)
        if len(self.measured) % 3 == 0:
            return replace(evaluation, metrics={}, failure="The device was unplugged.")
        return evaluation


@each_engine
def test_failures_are_survived(name: str) -> None:
    seen = whole(name, Failing())
    assert seen.outcome.best is not None
    assert not seen.outcome.best.evaluation.failure


class Dead(Toy):
    """Every measurement fails, so that every reward is that of a degenerate student."""

    def measure(self, candidate: Candidate) -> Evaluation:
        return replace(super().measure(candidate), metrics={}, failure="There is no device.")

    def advance(self, candidate: Candidate, *, distils: bool) -> Evaluation:
        return replace(super().advance(candidate, distils=distils), metrics={}, failure="There is no device.")


@each_engine
def test_a_search_in_which_everything_fails_ends_with_nothing(name: str) -> None:
    seen = whole(name, Dead(), evaluations=30)
    assert seen.outcome.best is None
    assert all(entry.reward == -1 for entry in seen.outcome.trace)


class Senseless(Toy):
    """Metrics that are no numbers."""

    def measure(self, candidate: Candidate) -> Evaluation:
        return replace(super().measure(candidate), metrics={"latency_ratio": float("nan")})


@each_engine
def test_measurements_that_are_no_numbers_leave_a_state_that_can_be_written(name: str) -> None:
    engine = load_engine(name)
    for state in whole(name, Senseless(), evaluations=30).states:
        assert engine.restore(state.to_json()).to_json() == state.to_json()


@each_engine
def test_a_limit_that_nothing_meets_ends_with_the_nearest_that_was_seen(name: str) -> None:
    seen = whole(name, rewards=rewarded("latency_ratio <= 0.01"), evaluations=30)
    assert not seen.outcome.is_feasible
    assert seen.outcome.best is not None
    measured = [entry.evaluation.metrics for entry in seen.outcome.trace if not entry.evaluation.failure]
    assert seen.outcome.best.evaluation.metrics["latency_ratio"] == min(one["latency_ratio"] for one in measured)


def without_table(space: Space) -> Space:
    return replace(
        space,
        removals=tuple(replace(one, savings={}) for one in space.removals),
        dimensions=tuple(replace(one, savings=()) for one in space.dimensions),
        teacher={},
    )


def with_zero_table(space: Space) -> Space:
    return replace(without_table(space), teacher=space.teacher)


def single_choice(space: Space) -> Space:
    layers = (Layer(name="stem", kind="conv", kernel=3, padding=1, outputs=64), Layer(name="head", kind="linear"))
    savings: tuple[dict[str, float], ...] = ({"latency_ratio": 0.1}, {})
    dimension = Dimension(group="g0", width=64, widths=(32, 64), layers=(0,), savings=savings)
    return Space(layers=layers, dimensions=(dimension,), teacher=space.teacher)


def nested(space: Space) -> Space:
    stage = Removal(block="stage", layers=(1, 2, 3, 4), savings={"latency_ratio": 0.28})
    return replace(space, removals=(*space.removals, stage))


SPACES: dict[str, Callable[[Space], Space]] = {
    "without removals": lambda space: replace(space, removals=()),
    "without widths": lambda space: replace(space, dimensions=()),
    "without choice of width": lambda space: replace(
        space, dimensions=tuple(replace(one, widths=(one.width,), savings=()) for one in space.dimensions)
    ),
    "a single choice": single_choice,
    "a block in another": nested,
    "a table of zeros": with_zero_table,
    "no table": without_table,
}


@each_engine
@pytest.mark.parametrize("which", SPACES)
@pytest.mark.parametrize("limit", [LIMIT, ""])
def test_unusual_spaces_are_searched(name: str, which: str, limit: str) -> None:
    toy = Toy(space=SPACES[which](make_space()))
    seen = whole(name, toy, rewards=rewarded(limit), evaluations=20)
    assert seen.outcome.best is not None
    assert len(seen.candidates) <= 20
    if not limit:
        assert seen.outcome.is_feasible


@each_engine
@pytest.mark.parametrize("limit", ["accuracy >= 0.7", "latency_ratio + params_ratio <= 1.2", "params <= 600"])
def test_other_limits_are_searched_under(name: str, limit: str) -> None:
    seen = whole(name, rewards=rewarded(limit), evaluations=25)
    assert seen.outcome.is_feasible


@each_engine
@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"state"', "{}", '{"schema": 2}'])
def test_what_is_no_state_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        load_engine(name).restore(text)


@each_engine
@pytest.mark.parametrize("changes", [{"schema": 999}, {"engine": "another"}, {"state": {}}, {"state": None}])
def test_a_state_of_another_version_or_engine_is_refused_by_name(name: str, changes: dict[str, object]) -> None:
    engine, state = started(name, make_space())
    with pytest.raises(UsageError, match=name):
        engine.restore(json.dumps({**json.loads(state.to_json()), **changes}))


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no search engine 'magic'; known are joint"):
        load_engine("magic")


@each_engine
def test_the_first_question_is_about_the_teachers_parts(name: str) -> None:
    engine, state = started(name, make_space())
    proposal = engine.ask(state)
    assert isinstance(proposal, Proposal)
    assert (state.stop, state.reward_settings) == (None, rewarded())
