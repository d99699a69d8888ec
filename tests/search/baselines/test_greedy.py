"""Steps in the order of what they lose for what they save, and a result that holds."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search.baselines import greedy
from deploycompress.search.baselines.greedy import Phase, Settings
from deploycompress.search.engine import StopReason
from deploycompress.search.moves import applied, moves
from deploycompress.search.space import Candidate
from tests.search.baselines.searching import accuracy_found, best_accuracy, searched
from tests.search.toy import Toy, accuracy_of, climbed, latency_of, make_space


@pytest.mark.parametrize("limit", [0.4, 0.5, 0.6, 0.7])
def test_the_best_there_is_is_found_on_the_toy(limit: float) -> None:
    assert accuracy_found(searched(greedy, Settings(), limit=limit)) == pytest.approx(best_accuracy(limit), abs=1e-3)


def test_the_first_sweep_tries_every_single_step_and_takes_its_accuracy() -> None:
    space, trace = make_space(), searched(greedy, Settings()).trace
    steps = [applied(space, Candidate(), move) for move in moves(space, Candidate())]
    assert [entry.proposal.candidate for entry in trace[:12]] == steps
    assert all(entry.proposal.needs_accuracy and entry.evaluation.accuracy is not None for entry in trace[:12])
    assert not trace[-1].proposal.needs_accuracy


def test_what_a_step_loses_is_learnt_against_the_best_of_the_sweep() -> None:
    states: list[greedy.State] = []
    searched(greedy, Settings(), states=states)
    learnt = next(state.sensitivities for state in states if state.sensitivities)
    space = make_space()
    steps = {move.name: applied(space, Candidate(), move) for move in moves(space, Candidate())}
    raw = {name: climbed(accuracy_of(one), 0) for name, one in steps.items()}
    best = max(raw.values())
    for name in ("b0", "b1", "b3"):
        assert learnt[f"remove:{name}"] == pytest.approx(best - raw[name])
    for name in ("g0", "g1", "g4"):
        assert learnt[f"narrow:{name}"] == pytest.approx((best - raw[name]) / 0.25**2)


def test_with_few_evaluations_the_largest_savings_are_tried_and_some_are_left() -> None:
    states: list[greedy.State] = []
    outcome = searched(greedy, Settings(), evaluations=10, states=states)
    tried = [entry.proposal.candidate for entry in outcome.trace if entry.proposal.needs_accuracy]
    assert {one.remove for one in tried if len(one.remove) == 1 and not one.widths} == {(f"b{n}",) for n in range(6)}
    assert len(tried) <= 8
    assert outcome.is_feasible


def test_the_whole_budget_is_used() -> None:
    for evaluations in (20, 45, 90):
        outcome = searched(greedy, Settings(), evaluations=evaluations)
        assert len(outcome.trace) == evaluations
        assert outcome.reason is StopReason.FINISHED


class Slower(Toy):
    """Saves only two thirds of what the table says, so that forecasts break the limit at first."""

    def measure(self, candidate: Candidate) -> Evaluation:
        evaluation = super().measure(candidate)
        ratio = 1 - 0.67 * (1 - latency_of(candidate))
        return Evaluation(metrics={"latency_ratio": ratio}, teacher_accuracy=evaluation.teacher_accuracy)


def test_it_goes_on_until_the_limit_is_measured_to_be_met() -> None:
    states: list[greedy.State] = []
    outcome = searched(greedy, Settings(), toy=Slower(), states=states)
    assert outcome.is_feasible
    assert states[-1].phase is Phase.EXCHANGE
    assert states[-1].best_is_met


def test_a_limit_out_of_reach_ends_at_the_smallest() -> None:
    outcome = searched(greedy, Settings(), limit=0.05)
    assert outcome.reason is StopReason.EXHAUSTED
    assert moves(make_space(), outcome.state.current) == ()


def test_exchanges_never_worsen_what_is_kept() -> None:
    states: list[greedy.State] = []
    searched(greedy, Settings(), limit=0.5, states=states)
    kept = [(state.best_is_met, state.best_reward) for state in states]
    assert kept == sorted(kept)


@pytest.mark.parametrize(("name", "value"), [("sweep_share", 0.0), ("sweep_share", 1.5), ("probe_share", -0.1)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name!r} is {value}"):
        Settings(**{name: value})
