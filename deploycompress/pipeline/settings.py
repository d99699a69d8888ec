"""Reads `--set SECTION.NAME=VALUE`: every number of the papers can be changed; an unknown one is refused by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, StrEnum
from typing import Any, get_type_hints

from deploycompress.errors import UsageError
from deploycompress.search import load_settings
from deploycompress.search.fidelity import Ladder
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.distil_settings import DistilSettings
from deploycompress.train.losses import LossSettings
from deploycompress.train.short_course import CourseSettings
from deploycompress.train.synthesis_settings import SynthesisSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceSettings:
    """What is decided about.

    Attributes:
        kernels: whether the extents of kernels may shrink, too; cropping a 3x3 kernel to its centre seldom pays.
    """

    kernels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """How a student is led back to its teacher's accuracy.

    Attributes:
        refit_images: that the winner's layers are fitted on before it is trained; 0 for recalibration alone.
        rounds: in which the winner's blocks go, each followed by training.
    """

    refit_images: int = 1024
    rounds: int = 1

    def __post_init__(self) -> None:
        for name, least in (("refit_images", 0), ("rounds", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"Setting 'recovery.{name}' is {getattr(self, name)}; it must be at least {least}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceSettings:
    """Which channels go first.

    Attributes:
        criterion: how the worth of a channel is judged.
    """

    criterion: Criterion = Criterion.RECONSTRUCTION


class Ranges(StrEnum):
    """How ranges of activations are found."""

    AUTO = "auto"
    MIN_MAX = "min_max"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationSettings:
    """How a network is brought to 8 bits.

    Attributes:
        ranges: how ranges of activations are found; `auto` tries all and takes what the validation images like best.
        images: training images that they are found on.
        share: of the winner's training that it spends in 8 bits; 0 for no training in 8 bits.
        peak_rate: highest learning rate of that training; 0 for one that suits a student that has learned all it can.
        finalists: students of the search that are brought to 8 bits before one of them wins.
        loss: of the score, that makes `auto` leave layers in single precision.
        most_higher: share of the layers that it may leave so.
        synthesizes: whether images synthesised from batch norm statistics will do where none are given.
    """

    ranges: Ranges = Ranges.AUTO
    images: int = 512
    share: float = 0.05
    peak_rate: float = 0.0
    finalists: int = 3
    loss: float = 0.005
    most_higher: float = 0.25
    synthesizes: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (
            ("images", 1, 65536),
            ("share", 0, 0.9),
            ("peak_rate", 0, 1e3),
            ("finalists", 1, 100),
            ("loss", 0, 1),
            ("most_higher", 0, 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise UsageError(
                    f"Setting 'quantization.{name}' is {getattr(self, name)}; it must lie between {least} and {most}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipSettings:
    """How thoroughly what ships is measured.

    Attributes:
        starts: fresh processes; 0 for as many as an interval over processes needs.
        seconds: of sampling, over all of them.
    """

    starts: int = 0
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.starts < 0:
            raise UsageError(f"Setting 'ship.starts' is {self.starts}; it must be at least 0.")
        if not 0 < self.seconds < math.inf:
            raise UsageError(f"Setting 'ship.seconds' is {self.seconds}; it must be above 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a run searches and trains, apart from what its budget decides.

    Attributes:
        search: of the engine.
        reward: formula and annealing; its constraints are the run's. Engines stay near the limits by the table of
            savings, so broken ones are not tolerated at all unless asked for.
        space: what is decided about.
        importance: which channels go first.
        ladder: how dearly students are judged.
        course: how they are taught on the ladder.
        recovery: how a student is led back to its teacher's accuracy.
        training: of every longer distillation; how long is the budget's business.
        synthesis: how images are made where no data were given.
        quantization: how a network is brought to 8 bits.
        ship: how thoroughly what ships is measured.
    """

    search: Any  # Any: each engine has its own record
    reward: RewardSettings = field(default_factory=lambda: RewardSettings(annealing=Annealing.HARD))
    space: SpaceSettings = field(default_factory=SpaceSettings)
    importance: ImportanceSettings = field(default_factory=ImportanceSettings)
    ladder: Ladder = field(default_factory=Ladder)
    course: CourseSettings = field(default_factory=CourseSettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    training: DistilSettings = field(default_factory=DistilSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    quantization: QuantizationSettings = field(default_factory=QuantizationSettings)
    ship: ShipSettings = field(default_factory=ShipSettings)


# Settings that a run derives from its constraints, its budget, its machine or its policy file.
_DERIVED = frozenset(
    {
        "search.policies",
        "reward.constraints",
        "course.loss",
        "synthesis.compute",
        *(f"training.{name}" for name in ("loss", "compute", "steps", "epochs", "seconds")),
    }
)


def read_settings(assignments: Sequence[str], engine: str) -> Settings:
    """Apply assignments such as `search.rollouts=5`, `reward.kind=n2n`, `loss.temperature=2` to the defaults.

    Args:
        assignments: in the order in which they count.
        engine: whose settings the section `search` holds.

    Raises:
        UsageError: an assignment has another form, names no setting, or gives a value the setting cannot have.
    """
    settings = Settings(search=load_settings(engine)())
    changes: dict[str, dict[str, Any]] = {}  # Any: each setting has its own type
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(
                f"--set {assignment!r} has no value; expected SECTION.NAME=VALUE, such as reward.kind=n2n."
            )
        section, _, key = name.strip().partition(".")
        changes.setdefault(section, {})[key] = _value(settings, name.strip(), text.strip())
    if "loss" in changes:
        loss = replace(settings.training.loss, **changes.pop("loss"))
        changes.setdefault("training", {})["loss"] = loss
    training = changes.get("training", {})
    if training.get("pasted") and training.get("augments") is False:  # by themselves, the default of one gives way
        raise UsageError(
            "Setting 'training.pasted' makes views, and 'training.augments' is off; leave one of them out."
        )
    # A section at a time, because some settings go only with others.
    whole: dict[str, Any] = {name: replace(getattr(settings, name), **change) for name, change in changes.items()}
    return replace(settings, **whole)


def known_settings(settings: Settings) -> Mapping[str, type]:
    """Name every setting that may be assigned, with its type; those of the section `loss` are the training's."""
    sections = {entry.name: type(getattr(settings, entry.name)) for entry in fields(settings)} | {"loss": LossSettings}
    return {
        f"{section}.{entry.name}": get_type_hints(record)[entry.name]
        for section, record in sections.items()
        for entry in fields(record)
        if f"{section}.{entry.name}" not in _DERIVED
    }


def _value(settings: Settings, name: str, text: str) -> object:
    kinds = known_settings(settings)
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(kinds)}."
        raise UsageError(f"--set {name!r}: there is no such setting; {hint}")
    return _converted(name, text, kinds[name])


def _converted(name: str, text: str, kind: Any) -> object:  # Any: a type, or a generic alias
    if kind == tuple[int, ...]:
        return tuple(int(_number(name, part, int)) for part in text.split(","))
    if issubclass(kind, Enum):
        values = [str(member.value) for member in kind]
        if text not in values:
            raise UsageError(f"--set {name}={text}: expected one of {', '.join(values)}.")
        return kind(text)
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"--set {name}={text}: expected true or false.")
        return text == "true"
    return _number(name, text, int if kind is int else float)


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError as error:
        raise UsageError(f"--set {name}={text}: expected a number ({kind.__name__}).") from error
