"""What the state of every baseline has: the journal, and whether the search is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deploycompress.search import record
from deploycompress.search.engine import StopReason
from deploycompress.search.journal import Journal
from deploycompress.search.reward import RewardSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a search stands.

    Attributes:
        journal: the task and what is known of it.
        stop: why the search is over, none while it is not.
    """

    engine: ClassVar[str]

    journal: Journal
    stop: StopReason | None = None

    @property
    def reward_settings(self) -> RewardSettings:
        """The reward that students are compared by."""
        return self.journal.reward_settings

    @property
    def entropy(self) -> float | None:
        """None: there is no policy."""
        return None

    def require_open(self) -> None:
        """Refuse to be asked when the search is over.

        Raises:
            ValueError: it is over.
        """
        if self.stop is not None:
            raise ValueError(f"The search is over: {self.stop}.")

    def to_json(self) -> str:
        """Write the state."""
        return record.to_json(self, self.engine)
