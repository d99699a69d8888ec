"""Option values that click does not know: durations, shapes, constraints."""

from __future__ import annotations

import re

import click

from deploycompress.constraint import parse_constraint

_SECONDS_PER_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?=.)(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Read `90s`, `15m`, `1h` or `1h30m` as seconds.

    Raises:
        ValueError: the text is no duration, has no unit, or is zero.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = sum(float(match[unit] or 0) * size for unit, size in _SECONDS_PER_UNIT.items()) if match else 0.0
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a duration above zero with its unit, such as 90s, 15m or 1h30m")
    return seconds


def parse_shape(text: str) -> tuple[int, ...]:
    """Read `1,3,32,32` as the sizes of an input's axes, the batch first.

    Raises:
        ValueError: an entry is no whole number above zero, or there is only one.
    """
    parts = text.split(",")
    if len(parts) < 2 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not a shape: sizes above zero, the batch first, such as 1,3,32,32")
    return tuple(map(int, parts))


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click only
    """A time span with its unit."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Turn the option's text into seconds."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class InputShape(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click only
    """The sizes of an input's axes."""

    name = "shape"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Turn the option's text into axis sizes."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_shape(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class ConstraintExpression(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click only
    """A linear inequality, checked at once and handed on as its author wrote it."""

    name = "expr"
    envvar_list_splitter = ";"  # expressions hold spaces, at which click would split

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Check the expression."""
        parse_constraint(str(value))
        return str(value)
