"""What surgery shall do to a graph: a frozen record that travels as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploycompress.errors import PlanError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Channels to keep, by channel group; groups that are not named keep all of theirs.

    Attributes:
        keep: for each cut group, the indices of the channels that stay, ascending, in `[0, width)`.
    """

    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group, indices in self.keep.items():
            if not indices:
                raise PlanError(f"The plan keeps no channel of group {group!r}; at least one must stay.")
            if list(indices) != sorted(set(indices)) or indices[0] < 0:
                raise PlanError(
                    f"The plan's channels of group {group!r} are not ascending, distinct and non-negative: {indices}."
                )

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing."""
        return not self.keep

    def widths(self) -> dict[str, int]:
        """Give the number of channels that stay, for each named group."""
        return {group: len(indices) for group, indices in self.keep.items()}

    def to_json(self) -> str:
        """Write the plan as JSON; equal plans give equal text."""
        keep = {group: list(self.keep[group]) for group in sorted(self.keep)}
        return json.dumps({"schema": SCHEMA, "keep": keep}, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan that `to_json` wrote.

        Raises:
            PlanError: the text is no plan, is of another schema, or has unknown keys.
        """
        try:
            record = json.loads(text)
            unknown = sorted(set(record) - {"schema", "keep"})
            if unknown:
                raise PlanError(f"The plan has the unknown key {unknown[0]!r}; known are 'schema' and 'keep'.")
            if record["schema"] != SCHEMA:
                raise PlanError(f"The plan has schema {record['schema']!r}, this version reads {SCHEMA}.")
            return Plan(keep={str(group): tuple(map(int, indices)) for group, indices in record["keep"].items()})
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"Not a plan: {error!r}; a plan is JSON as written by Plan.to_json().") from error
