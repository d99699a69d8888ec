"""Everything RL-Pruner knows between two questions: a frozen record that travels as JSON, its generator included."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from deploycompress.constraint import Constraint
from deploycompress.errors import UsageError
from deploycompress.search.engine import Kind, Scores, StopReason
from deploycompress.search.reward import Quantity, RewardKind, RewardSettings
from deploycompress.search.rl_pruner.policy import Distribution
from deploycompress.search.rl_pruner.replay import Buffer, Experience
from deploycompress.search.rl_pruner.settings import RlPrunerSettings
from deploycompress.search.schedules import Annealing, Decay
from deploycompress.search.space import Dimension, Space

SCHEMA = 1

Record = dict[str, Any]  # Any: JSON
GeneratorState = Mapping[str, Any]  # Any: what numpy calls its bit generator's state


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A student of the current stage's tree: how it came to be, its real-valued widths and its reward."""

    action: Distribution
    widths: tuple[float, ...]
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a search stands. Vectors are over the space's free dimensions, shape [D].

    Attributes:
        settings: of the engine.
        reward_settings: formula and constraints.
        space: what may be cut.
        scores: importance of the current student's channels, by group.
        policy: the pruning distribution.
        widths: real-valued widths the pruning has come to.
        student: widths of the current student: the real-valued ones as they were rounded for it.
        buffer: the replay buffer of this step.
        samples: students evaluated so far in this stage.
        pending: the action asked about.
        kind: what is asked.
        step: pruning steps taken.
        stage: sampling stages completed in this step.
        is_met: whether the current student meets all constraints.
        stop: why the search is over, none while it is not.
        generator: state of the random generator.
    """

    settings: RlPrunerSettings
    reward_settings: RewardSettings
    space: Space
    scores: Scores
    policy: Distribution
    widths: tuple[float, ...]
    student: tuple[int, ...]
    buffer: Buffer
    samples: tuple[Sample, ...]
    pending: Distribution
    kind: Kind
    step: int
    stage: int
    is_met: bool
    stop: StopReason | None
    generator: GeneratorState

    @property
    def progress(self) -> float:
        """Share of the planned steps that is over: 0 at the first, 1 at the last and after it."""
        last = self.settings.steps - 1
        return min(self.step / last, 1.0) if last else 1.0

    def rng(self) -> np.random.Generator:
        """Make a generator that continues where this state is."""
        bits = np.random.PCG64()
        bits.state = cast(Any, self.generator)  # Any: numpy types it as its own kind of dict
        return np.random.Generator(bits)

    def to_json(self) -> str:
        """Write the state as JSON; channels that are cut have the score null."""
        record: Record = {
            "schema": SCHEMA,
            "settings": dataclasses.asdict(self.settings),
            "reward_settings": {
                **dataclasses.asdict(dataclasses.replace(self.reward_settings, constraints=())),
                "constraints": [dataclasses.asdict(row) for row in self.reward_settings.constraints],
            },
            "space": [[d.group, d.width, d.widths] for d in self.space.dimensions],
            "scores": {g: [None if s == -math.inf else s for s in scores] for g, scores in self.scores.items()},
            "buffer": [dataclasses.asdict(experience) for experience in self.buffer],
            "samples": [dataclasses.asdict(sample) for sample in self.samples],
        }
        plain = ("policy", "widths", "student", "pending", "kind", "step", "stage", "is_met", "stop", "generator")
        record.update({name: getattr(self, name) for name in plain})
        return json.dumps(record, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> State:
        """Read a state that `to_json` wrote.

        Raises:
            UsageError: the text is no such state, or of another schema.
        """
        try:
            record = json.loads(text)
            if record["schema"] != SCHEMA:
                raise UsageError(f"The search state has schema {record['schema']!r}, this version reads {SCHEMA}.")
            return _read(record)
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"Not a search state of rl-pruner: {error!r}; start the search anew.") from error


def _read(record: Record) -> State:
    scores = record["scores"].items()
    return State(
        settings=_read_settings(record["settings"]),
        reward_settings=_read_reward(record["reward_settings"]),
        space=Space(tuple(Dimension(group, width, tuple(widths)) for group, width, widths in record["space"])),
        scores={group: tuple(-math.inf if s is None else float(s) for s in values) for group, values in scores},
        policy=tuple(record["policy"]),
        widths=tuple(record["widths"]),
        student=tuple(record["student"]),
        buffer=tuple(Experience(action=tuple(e["action"]), value=e["value"]) for e in record["buffer"]),
        samples=tuple(
            Sample(action=tuple(s["action"]), widths=tuple(s["widths"]), reward=s["reward"]) for s in record["samples"]
        ),
        pending=tuple(record["pending"]),
        kind=Kind(record["kind"]),
        step=record["step"],
        stage=record["stage"],
        is_met=record["is_met"],
        stop=None if record["stop"] is None else StopReason(record["stop"]),
        generator=record["generator"],
    )


def _read_settings(record: Record) -> RlPrunerSettings:
    return RlPrunerSettings(**{**record, "exploration_decay": Decay(record["exploration_decay"])})


def _read_reward(record: Record) -> RewardSettings:
    return RewardSettings(
        kind=RewardKind(record["kind"]),
        alpha=record["alpha"],
        beta=record["beta"],
        quantity=Quantity(record["quantity"]),
        constraints=tuple(
            Constraint(
                terms=tuple((str(metric), float(factor)) for metric, factor in row["terms"]),
                bound=float(row["bound"]),
                expression=str(row["expression"]),
            )
            for row in record["constraints"]
        ),
        annealing=Annealing(record["annealing"]),
    )
