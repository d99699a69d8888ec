"""What surgery shall do to a graph: a frozen record that travels as JSON."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import SupportsIndex

from deploycompress.errors import PlanError
from deploycompress.precision import Precision

SCHEMA = 1
KEYS = frozenset({"schema", "remove", "keep", "kernels", "precision", "higher"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Blocks to remove, channels to keep, kernels to shrink, and a precision; what is not named stays as it is.

    Everything goes by names that follow from the weights' own, so that a plan fits every export of the same teacher.
    Blocks are removed first; `keep` and `kernels` speak of the graph that is left.

    Attributes:
        remove: names of the blocks that go, ascending and distinct.
        keep: for each cut channel group, the indices of the channels that stay, ascending, in `[0, width)`.
        kernels: for each convolution whose kernel shrinks, by the name of its weight without `.weight`, the largest
            size that each axis of the kernel keeps.
        precision: arithmetic of the graph that ships; surgery itself leaves it alone.
        higher: layers that stay in single precision all the same, by the name of their weight without `.weight`.

    Examples:
        >>> from deploycompress import Plan
        >>> plan = Plan(keep={"conv1": (0, 2)}, kernels={"conv2": 3})
        >>> Plan.from_json(plan.to_json()) == plan
        True
    """

    remove: tuple[str, ...] = ()
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kernels: Mapping[str, int] = field(default_factory=dict)
    precision: Precision = Precision.FP32
    higher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check and copy what was given, so that nobody changes the plan from outside."""
        object.__setattr__(self, "remove", _names(self.remove, "removes", "block names"))
        keep = _mapping(self.keep, "keep")
        object.__setattr__(self, "keep", {group: _channels(group, indices) for group, indices in keep.items()})
        kernels = {
            layer: _integer(size, f"the kernel of {layer!r}")
            for layer, size in _mapping(self.kernels, "kernels").items()
        }
        object.__setattr__(self, "kernels", kernels)
        for layer, size in kernels.items():
            if size < 1:
                raise PlanError(f"The plan gives layer {layer!r} a kernel of size {size}; expected at least 1.")
        object.__setattr__(self, "precision", _precision(self.precision))
        object.__setattr__(self, "higher", _names(self.higher, "leaves in single precision", "layer names"))
        if self.higher and self.precision is Precision.FP32:
            raise PlanError(
                f"The plan leaves layer {self.higher[0]!r} in single precision, in which all layers are; give the plan "
                "a lower precision, or leave 'higher' out."
            )

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing of the network's structure."""
        return not (self.remove or self.keep or self.kernels)

    def widths(self) -> dict[str, int]:
        """Give the number of channels that stay, for each named group."""
        return {group: len(indices) for group, indices in self.keep.items()}

    def to_json(self) -> str:
        """Write the plan as JSON; equal plans give equal text."""
        record = {
            "schema": SCHEMA,
            "remove": list(self.remove),
            "keep": {group: list(self.keep[group]) for group in sorted(self.keep)},
            "kernels": {layer: self.kernels[layer] for layer in sorted(self.kernels)},
        }
        if self.precision is not Precision.FP32:
            record |= {"precision": self.precision.value, "higher": list(self.higher)}
        return json.dumps(record, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan that `to_json` wrote; parts that are left out are empty.

        Raises:
            PlanError: the text is no plan, is of another schema, or has unknown keys.
        """
        try:
            record = json.loads(text, object_pairs_hook=_without_twins)
        except (ValueError, RecursionError) as error:
            raise PlanError(f"Not a plan: {error}; a plan is JSON as written by Plan.to_json().") from error
        if not isinstance(record, dict) or "schema" not in record:
            raise PlanError(f"Not a plan: {text[:40]!r}; expected a JSON object with the key 'schema'.")
        unknown = sorted(set(record) - KEYS)
        if unknown:
            raise PlanError(f"The plan has the unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}.")
        schema = record.pop("schema")
        if type(schema) is not int or schema != SCHEMA:
            raise PlanError(f"The plan has schema {schema!r}, this version reads {SCHEMA}.")
        return Plan(**record)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    twins = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twins:
        raise PlanError(f"The plan names {twins[0]!r} twice in one object.")
    return dict(pairs)


def _names(names: object, what: str, expected: str) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise PlanError(f"Not a plan: it {what} {names!r}; expected {expected} in a tuple.")
    twins = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twins:
        raise PlanError(f"The plan {what} {twins[0]!r} twice.")
    return tuple(sorted(names))


def _precision(value: object) -> Precision:
    try:
        return Precision(value)  # type: ignore[arg-type]  # whatever it is, the enumeration judges it
    except ValueError as error:
        names = ", ".join(Precision)
        raise PlanError(f"The plan has precision {value!r}; known are {names}.") from error


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise PlanError(f"Not a plan: {what!r} is {value!r}; expected an object with names as keys.")
    return value


def _channels(group: str, indices: object) -> tuple[int, ...]:
    if not isinstance(indices, Sequence) or isinstance(indices, str):
        raise PlanError(f"Not a plan: group {group!r} keeps {indices!r}; expected channel numbers in a tuple.")
    kept = tuple(_integer(index, f"group {group!r}") for index in indices)
    if not kept:
        raise PlanError(f"The plan keeps no channel of group {group!r}; at least one must stay.")
    if list(kept) != sorted(set(kept)) or kept[0] < 0:
        raise PlanError(f"The plan's channels of group {group!r} are not ascending, distinct and non-negative: {kept}.")
    return kept


def _integer(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise PlanError(f"Not a plan: {value!r} stands in {what}; expected an integer.")
    return operator.index(value)
