"""What is asked of the environment, what is not, and when a search ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.search.engine import Kind, Proposal, StopReason
from deploycompress.search.fidelity import Ladder, foreseen
from deploycompress.search.loop import MOST_REPEATS, climbs_of, run
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate
from tests.search.scripted import Scripted, State
from tests.search.toy import TEACHER_ACCURACY, Toy, accuracy_of, climbed, latency_of

LADDER = Ladder(steps=(0, 20, 60), share=1 / 3)
HARD = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.9"),), annealing=Annealing.HARD)
FREE = RewardSettings()


def removing(*blocks: int) -> Candidate:
    return Toy().space.candidate(remove=[f"b{block}" for block in blocks])


def sample(*blocks: int, progress: float = 1.0, needs_accuracy: bool = False) -> Proposal:
    return Proposal(candidate=removing(*blocks), progress=progress, needs_accuracy=needs_accuracy)


def advance(*blocks: int) -> Proposal:
    return Proposal(candidate=removing(*blocks), kind=Kind.ADVANCE)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A search, its environment, and the states that were reported."""

    outcome: SearchOutcome[State]
    toy: Toy
    reported: list[tuple[TraceEntry, State]]


def search(
    asked: Sequence[Proposal],
    rewards: RewardSettings = FREE,
    *,
    ladder: Ladder = LADDER,
    should_stop: Callable[[], bool] = lambda: False,
    limit: int | None = None,
    trace: Sequence[TraceEntry] = (),
    toy: Toy | None = None,
) -> Seen:
    toy = toy or Toy()
    reported: list[tuple[TraceEntry, State]] = []
    outcome = run(
        Scripted(),
        State(left=tuple(asked), reward_settings=rewards),
        toy,
        ladder=ladder,
        should_stop=should_stop,
        on_evaluation=lambda entry, state: reported.append((entry, state)),
        max_evaluations=limit,
        trace=trace,
    )
    return Seen(outcome=outcome, toy=toy, reported=reported)


def test_everything_asked_is_evaluated_told_and_reported_in_order() -> None:
    asked = [sample(0), sample(1), sample(2)]
    seen = search(asked)
    assert [entry.proposal for entry in seen.outcome.trace] == asked
    assert [entry for entry, _ in seen.reported] == list(seen.outcome.trace)
    assert [len(state.told) for _, state in seen.reported] == [1, 2, 3]
    assert [reward for _, reward in seen.outcome.state.told] == [entry.reward for entry in seen.outcome.trace]
    assert seen.outcome.reason is StopReason.FINISHED


def test_a_student_seen_before_costs_nothing_and_is_answered_from_memory() -> None:
    seen = search([sample(0), sample(1), sample(0), sample(1), sample(2)], limit=3)
    assert seen.outcome.reason is StopReason.FINISHED
    assert seen.toy.measured == [removing(0), removing(1), removing(2)]
    told = [evaluation for evaluation, _ in seen.outcome.state.told]
    assert told[2:4] == told[:2]


class OneStudent(Toy):
    """Every candidate leads to the same graph."""

    def key(self, candidate: Candidate) -> str:  # noqa: ARG002 - whatever it is
        return "the same"


def test_students_go_by_their_graph_and_not_by_the_candidate() -> None:
    seen = search([sample(0), sample(1), sample(2)], toy=OneStudent())
    assert seen.toy.measured == [removing(0)]
    assert len(seen.outcome.state.told) == 3


def test_a_student_whose_accuracy_was_not_taken_is_asked_again_when_it_is_needed() -> None:
    asked = [sample(), sample(), sample(needs_accuracy=True), sample(needs_accuracy=True), sample()]
    seen = search(asked, HARD)
    assert len(seen.outcome.trace) == 2
    assert [entry.evaluation.accuracy is None for entry in seen.outcome.trace] == [True, False]
    assert [evaluation.accuracy is None for evaluation, _ in seen.outcome.state.told] == [True, True, *3 * [False]]


def test_too_many_repeats_in_a_row_end_the_search() -> None:
    seen = search([sample(0), *(MOST_REPEATS + 5) * [sample(0)]])
    assert seen.outcome.reason is StopReason.REPEATING
    assert len(seen.outcome.state.told) == 1 + MOST_REPEATS


def test_something_new_between_repeats_goes_on() -> None:
    most = (MOST_REPEATS - 1) * [sample(0)]
    assert search([sample(0), *most, sample(1), *most]).outcome.reason is StopReason.FINISHED


def test_what_breaks_a_hard_limit_is_never_judged() -> None:
    seen = search([sample(), sample(0), sample(1)], HARD)
    assert latency_of(removing()) > 0.9 >= latency_of(removing(0))
    assert {candidate for candidate, _ in seen.toy.judged} == {removing(0), removing(1)}
    assert seen.outcome.trace[0].reward == -1


def test_what_is_needed_is_judged_on_the_lowest_rung_even_so() -> None:
    seen = search([sample(needs_accuracy=True)], HARD)
    assert seen.toy.judged == [(removing(), 0)]
    assert seen.outcome.trace[0].reward == -1
    assert not seen.outcome.is_feasible


def test_while_it_is_tolerated_what_breaks_a_limit_is_judged_but_does_not_climb() -> None:
    soft = RewardSettings(constraints=HARD.constraints, annealing=Annealing.LINEAR)
    seen = search([sample(progress=0.5), sample(progress=1.0)], soft)
    assert seen.toy.judged == [(removing(), 0)]
    raw = climbed(TEACHER_ACCURACY, 0)
    assert seen.outcome.trace[0].reward == pytest.approx(0.5 * (raw + 1) - 1)


def test_only_the_best_third_climbs_from_each_rung() -> None:
    blocks = (2, 0, 3, 5, 1, 4)
    seen = search([sample(block) for block in blocks])
    accuracies = [accuracy_of(removing(block)) for block in blocks]
    expected: list[tuple[Candidate, int]] = []
    reached: list[list[float]] = [[], [], []]
    for block, accuracy in zip(blocks, accuracies, strict=True):
        for rung, steps in enumerate(LADDER.steps):
            expected.append((removing(block), steps))
            reached[rung].append(accuracy)
            rank = sum(other > accuracy for other in reached[rung])
            if rank >= len(reached[rung]) / 3:
                break
    assert seen.toy.judged == expected
    assert {steps for _, steps in expected} == set(LADDER.steps)


def test_the_engine_learns_from_the_accuracy_foreseen_for_the_top() -> None:
    seen = search([sample(block) for block in (2, 0, 3, 5, 1, 4)])
    for index, entry in enumerate(seen.outcome.trace):
        before = climbs_of(seen.outcome.trace[:index], FREE)
        assert entry.reward == pytest.approx(foreseen(entry.evaluation.climb, before, LADDER))
        assert entry.evaluation.accuracy == entry.evaluation.climb[-1]


def test_students_that_break_limits_do_not_count_on_the_ladder() -> None:
    seen = search([sample(needs_accuracy=True), sample(0)], HARD)
    assert climbs_of(seen.outcome.trace, HARD) == (seen.outcome.trace[1].evaluation.climb,)


def test_a_limit_on_the_accuracy_does_not_keep_from_climbing() -> None:
    rewards = RewardSettings(constraints=(parse_constraint("accuracy >= 0.9"),), annealing=Annealing.HARD)
    seen = search([sample(4)], rewards)
    assert climbed(accuracy_of(removing(4)), 0) < 0.9 < climbed(accuracy_of(removing(4)), 60)
    assert [steps for _, steps in seen.toy.judged] == [0, 20, 60]
    assert seen.outcome.is_feasible


def test_a_student_that_cannot_be_built_is_a_failure_with_an_empty_plan() -> None:
    seen = search([sample(*range(6))])
    entry = seen.outcome.trace[0]
    assert (entry.evaluation.failure, entry.reward, entry.plan.is_empty) == ("Nothing is left.", -1.0, True)
    assert seen.toy.judged == []
    assert seen.outcome.best is None


def test_advancing_distils_what_meets_the_limits() -> None:
    seen = search([advance(), advance(0)], HARD)
    assert seen.toy.advanced == [removing(), removing(0)]
    assert seen.toy.judged == []
    trained, untrained = climbed(accuracy_of(removing(0)), 100), climbed(accuracy_of(removing()), 0)
    assert [entry.evaluation.accuracy for entry in seen.outcome.trace] == [untrained, trained]
    assert seen.outcome.best is seen.outcome.trace[1]


def test_after_an_advance_nothing_is_known_any_more() -> None:
    seen = search([sample(0), advance(1), sample(0), sample(0)])
    assert seen.toy.measured.count(removing(0)) == 2


def test_a_search_that_goes_on_after_an_advance_knows_what_it_knew() -> None:
    before = search([sample(0), advance(1), sample(2)]).outcome.trace
    assert search([sample(0), sample(2)], trace=before).toy.measured == [removing(0)]


def test_a_search_that_goes_on_counts_what_was_spent() -> None:
    before = search([sample(0), sample(1)]).outcome.trace
    seen = search([sample(0), sample(2), sample(3)], trace=before, limit=3)
    assert seen.outcome.reason is StopReason.EVALUATIONS
    assert seen.outcome.trace[:2] == before
    assert seen.toy.measured == [removing(2)]


def test_the_evaluations_that_are_allowed_are_not_exceeded() -> None:
    seen = search([sample(block) for block in range(6)], limit=4)
    assert seen.outcome.reason is StopReason.EVALUATIONS
    assert len(seen.toy.measured) == len(seen.outcome.trace) == 4


def test_a_request_to_stop_ends_before_the_next_evaluation() -> None:
    answers = iter([False, False, True])
    seen = search([sample(block) for block in range(6)], should_stop=lambda: next(answers))
    assert seen.outcome.reason is StopReason.STOPPED
    assert len(seen.toy.measured) == 2
    assert seen.outcome.best is not None


def test_a_search_that_is_over_asks_nothing() -> None:
    seen = search([])
    assert (seen.outcome.reason, seen.outcome.best, seen.toy.measured) == (StopReason.FINISHED, None, [])
