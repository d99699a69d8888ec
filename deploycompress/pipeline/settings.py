"""Reads `--set SECTION.NAME=VALUE`: every number of the papers can be changed; an unknown one is refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, get_type_hints

from deploycompress.errors import UsageError
from deploycompress.search.reward import RewardSettings
from deploycompress.search.rl_pruner import RlPrunerSettings
from deploycompress.train.distil_settings import DistilSettings
from deploycompress.train.losses import LossSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run searches and trains, apart from what its budget decides.

    Attributes:
        search: of RL-Pruner; the paper's, but it stops once the constraints are met.
        reward: formula and annealing; its constraints are the run's.
        training: of every distillation; how long is the budget's business.
    """

    search: RlPrunerSettings = field(default_factory=lambda: RlPrunerSettings(stop_when_met=True))
    reward: RewardSettings = field(default_factory=RewardSettings)
    training: DistilSettings = field(default_factory=DistilSettings)


# Settings that a run derives from its constraints, its budget or its machine.
_DERIVED = frozenset(
    {
        "search.step_sparsity",
        "reward.constraints",
        *(f"training.{name}" for name in ("loss", "compute", "steps", "epochs", "seconds")),
    }
)


def read_settings(assignments: Sequence[str]) -> Settings:
    """Apply assignments such as `search.samples=5`, `reward.kind=n2n`, `loss.temperature=2` to the defaults.

    Raises:
        UsageError: an assignment has another form, names no setting, or gives a value the setting cannot have.
    """
    settings = Settings()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(
                f"--set {assignment!r} has no value; expected SECTION.NAME=VALUE, such as search.samples=5."
            )
        settings = _assigned(settings, name.strip(), text.strip())
    return settings


def _assigned(settings: Settings, name: str, text: str) -> Settings:
    kinds = _known()
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(kinds)}."
        raise UsageError(f"--set {name!r}: there is no such setting; {hint}")
    section, _, key = name.partition(".")
    change: dict[str, Any] = {key: _converted(name, text, kinds[name])}  # Any: each setting has its own type
    if section == "search":
        return replace(settings, search=replace(settings.search, **change))
    if section == "reward":
        return replace(settings, reward=replace(settings.reward, **change))
    if section == "loss":
        change = {"loss": replace(settings.training.loss, **change)}
    return replace(settings, training=replace(settings.training, **change))


def _known() -> Mapping[str, type]:
    sections = {"search": RlPrunerSettings, "reward": RewardSettings, "training": DistilSettings, "loss": LossSettings}
    return {
        f"{section}.{entry.name}": get_type_hints(record)[entry.name]
        for section, record in sections.items()
        for entry in fields(record)
        if f"{section}.{entry.name}" not in _DERIVED
    }


def _converted(name: str, text: str, kind: type) -> object:
    if issubclass(kind, Enum):
        values = [str(member.value) for member in kind]
        if text not in values:
            raise UsageError(f"--set {name}={text}: expected one of {', '.join(values)}.")
        return kind(text)
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"--set {name}={text}: expected true or false.")
        return text == "true"
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        raise UsageError(f"--set {name}={text}: expected a number ({kind.__name__}).") from error
