"""Every failure a user can cause, each with the exit code the command line gives it.

A message says what happened with its value, what was expected, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class DeployCompressError(Exception):
    """Base of all errors raised on purpose; anything else that escapes is a bug."""

    exit_code: ClassVar[int] = 5


class ConstraintError(DeployCompressError):
    """A constraint was measured and cannot be met."""

    exit_code: ClassVar[int] = 1


class UsageError(DeployCompressError):
    """An option, an expression or a combination of them makes no sense."""

    exit_code: ClassVar[int] = 2


class MissingShapeError(UsageError):
    """The model does not say what input it takes, and nobody else did."""


class ProfileError(DeployCompressError):
    """A device profile cannot be found, read or understood."""

    exit_code: ClassVar[int] = 2


class DataError(DeployCompressError):
    """Training or test data cannot be read or do not fit the network."""

    exit_code: ClassVar[int] = 2


class PlanError(DeployCompressError):
    """A plan does not fit the graph it is applied to."""

    exit_code: ClassVar[int] = 2


class OutputError(DeployCompressError):
    """A result cannot be written where it was asked for."""

    exit_code: ClassVar[int] = 2


class ModelError(DeployCompressError):
    """A model file cannot be read, or holds something that is not supported."""

    exit_code: ClassVar[int] = 3


class UntrustedModelError(ModelError):
    """Loading the model would run code or classes that nobody allowed."""


class MeasureError(DeployCompressError):
    """A measurement failed or its device is not available."""

    exit_code: ClassVar[int] = 4


class VerificationError(DeployCompressError):
    """A graph is not what it must equal; only a defect of this program can cause it."""
