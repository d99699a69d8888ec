"""Why one measurement failed, as a type the search can act on while the next measurement goes on."""

from __future__ import annotations

from enum import StrEnum

from deploycompress.errors import MeasureError


class FailureKind(StrEnum):
    """What went wrong with one model."""

    CRASH = "crash"
    HANG = "hang"
    MEMORY = "memory"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"


class FailedMeasurementError(MeasureError):
    """One model could not be measured; the device itself is fine, and the next model can be."""

    def __init__(self, kind: FailureKind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind

    def __reduce__(self) -> tuple[type[FailedMeasurementError], tuple[FailureKind, str]]:
        return type(self), (self.kind, str(self))
