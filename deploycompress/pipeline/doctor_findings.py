"""What `doctor` finds: one thing looked at, what it is, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a finding means for measuring."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it is.
        value: what was found, in words.
        level: `problem` when nothing can be measured so, `note` when numbers may suffer or mean less.
        advice: what to do; empty when there is nothing to do.
    """

    topic: str
    value: str
    level: Level = Level.OK
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found at one place.

    Attributes:
        place: `host`, or the target as it was written.
        findings: in the order they were looked at.
        evidence: what numbers taken there are for the profile; None where there is no profile, or no answer.
    """

    place: str
    findings: tuple[Finding, ...]
    evidence: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing stands in the way of measuring."""
        return all(finding.level is not Level.PROBLEM for finding in self.findings)

    def to_document(self) -> dict[str, Any]:  # Any: JSON
        """Describe it as JSON."""
        return {**asdict(self), "is_well": self.is_well}
