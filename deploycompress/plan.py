"""What surgery shall do to a graph: a frozen record that travels as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from deploycompress.errors import PlanError

SCHEMA = 1
KEYS = frozenset({"schema", "remove", "keep", "kernels"})

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Blocks to remove, channels to keep and kernels to shrink; what is not named stays as it is.

    Everything goes by names that follow from the weights' own, so that a plan fits every export of the same teacher.
    Blocks are removed first; `keep` and `kernels` speak of the graph that is left.

    Attributes:
        remove: names of the blocks that go, ascending and distinct.
        keep: for each cut channel group, the indices of the channels that stay, ascending, in `[0, width)`.
        kernels: for each convolution whose kernel shrinks, by the name of its weight without `.weight`, the largest
            size that each axis of the kernel keeps.

    Examples:
        >>> from deploycompress import Plan
        >>> plan = Plan(keep={"conv1": (0, 2)}, kernels={"conv2": 3})
        >>> Plan.from_json(plan.to_json()) == plan
        True
    """

    remove: tuple[str, ...] = ()
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kernels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.remove, str):
            raise PlanError(f"The plan removes {self.remove!r}; expected a tuple of block names.")
        object.__setattr__(self, "remove", tuple(sorted(self.remove)))
        if len(set(self.remove)) < len(self.remove):
            raise PlanError(f"The plan removes a block twice: {', '.join(self.remove)}.")
        for group, indices in self.keep.items():
            if not indices:
                raise PlanError(f"The plan keeps no channel of group {group!r}; at least one must stay.")
            if list(indices) != sorted(set(indices)) or indices[0] < 0:
                raise PlanError(
                    f"The plan's channels of group {group!r} are not ascending, distinct and non-negative: {indices}."
                )
        for layer, size in self.kernels.items():
            if size < 1:
                raise PlanError(f"The plan gives layer {layer!r} a kernel of size {size}; expected at least 1.")

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing."""
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
        return json.dumps(record, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan that `to_json` wrote; parts that are left out are empty.

        Raises:
            PlanError: the text is no plan, is of another schema, or has unknown keys.
        """
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(f"Not a plan: {error}; a plan is JSON as written by Plan.to_json().") from error
        if not isinstance(record, dict) or "schema" not in record:
            raise PlanError(f"Not a plan: {text[:40]!r}; expected a JSON object with the key 'schema'.")
        unknown = sorted(set(record) - KEYS)
        if unknown:
            raise PlanError(f"The plan has the unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}.")
        if record["schema"] != SCHEMA:
            raise PlanError(f"The plan has schema {record['schema']!r}, this version reads {SCHEMA}.")
        return Plan(
            remove=tuple(
                _expect(name, str, "a block name") for name in _expect(record.get("remove", []), list, "a list")
            ),
            keep={
                group: tuple(_expect(index, int, f"a channel of {group!r}") for index in _expect(kept, list, "a list"))
                for group, kept in _expect(record.get("keep", {}), dict, "an object").items()
            },
            kernels={
                layer: _expect(size, int, f"a kernel size of {layer!r}")
                for layer, size in _expect(record.get("kernels", {}), dict, "an object").items()
            },
        )


def _expect(value: object, kind: type[Kind], what: str) -> Kind:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PlanError(f"Not a plan: {value!r} stands where {what} is expected; see Plan.to_json().")
    return value
