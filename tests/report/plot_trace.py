"""Traces to plot: of a real search on the toy problem, sampling at random, and made by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search import loop
from deploycompress.search.engine import Kind, Proposal, StopReason
from deploycompress.search.fidelity import Ladder
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate, Space
from tests.search.toy import Toy

LIMITED = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.6"),), annealing=Annealing.HARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Where the random search stands."""

    space: Space
    reward_settings: RewardSettings = LIMITED
    seed: int = 0
    evaluations: int = 0
    draws: int = 0
    stop: StopReason | None = None
    entropy: float | None = None

    def to_json(self) -> str:
        return str(self.draws)


class Sampler:
    """An engine that takes every block and every width at random."""

    def init(
        self,
        space: Space,
        reward_settings: RewardSettings,
        *,
        settings: None,
        evaluations: int,
        seed: int,
    ) -> Sampling:
        assert settings is None
        return Sampling(space=space, reward_settings=reward_settings, seed=seed, evaluations=evaluations)

    def ask(self, state: Sampling) -> Proposal:
        generator = np.random.default_rng((state.seed, state.draws))
        remove = [removal.block for removal in state.space.removals if generator.random() < 0.35]
        widths = {dimension.group: int(generator.choice(dimension.widths)) for dimension in state.space.free}
        return Proposal(candidate=state.space.candidate(remove=remove, widths=widths), step=state.draws // 5)

    def tell(self, state: Sampling, proposal: Proposal, evaluation: Evaluation, reward: float) -> Sampling:
        assert proposal == self.ask(state)
        assert reward >= -1 or evaluation.failure
        return replace(state, draws=state.draws + 1)

    def restore(self, text: str) -> Sampling:
        return Sampling(space=Space(), draws=int(text))


def searched(evaluations: int) -> tuple[tuple[TraceEntry, ...], Space]:
    """Search the toy problem at random."""
    toy, engine = Toy(), Sampler()
    outcome = loop.run(
        engine,
        engine.init(toy.space, LIMITED, settings=None, evaluations=evaluations, seed=0),
        toy,
        ladder=Ladder(),
        should_stop=lambda: False,
        on_evaluation=lambda *_: None,
        max_evaluations=evaluations,
    )
    return outcome.trace, toy.space


def entry(
    reward: float,
    *,
    latency: float | None = 0.5,
    accuracy: float | None = 0.9,
    candidate: Candidate | None = None,
    kind: Kind = Kind.SAMPLE,
    climb: tuple[float, ...] = (),
    failure: str = "",
    step: int = 0,
) -> TraceEntry:
    """Make an evaluation."""
    known = {"latency_ratio": latency, "accuracy": accuracy}
    metrics = {name: value for name, value in known.items() if value is not None}
    return TraceEntry(
        key=str(candidate),
        proposal=Proposal(candidate=candidate or Candidate(), kind=kind, step=step),
        plan=Plan(),
        evaluation=Evaluation(
            metrics=metrics, teacher_accuracy=0.95, failure=failure, climb=climb, seconds={"measure": 1.0, "train": 2.5}
        ),
        reward=reward,
    )
