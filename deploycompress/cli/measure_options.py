"""The options of commands that measure: how often, how long, and what they say on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: whatever options the command takes

_OPTIONS = (
    click.option(
        "--starts",
        type=click.IntRange(min=1, max=1000),
        metavar="N",
        help="Fresh processes to repeat the measurement in; where a model lies in memory changes with each.  "
        "[default: as many as an interval of ratios needs]",
    ),
    click.option(
        "--max-seconds",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="When enough is enough, even if the interval is wide.  [default: the profile's]",
    ),
)
_MANNERS = (
    click.option("--json", "as_json", is_flag=True, envvar="DEPLOYCOMPRESS_JSON", help="Print a JSON object."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, warnings only."),
    click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors."),
)

profile_option = click.option(
    "--profile", required=True, metavar="NAME|FILE", help="Target device; see: deploycompress profiles list."
)


def sampling_options(command: Command) -> Command:
    """Give a command `--starts` and `--max-seconds`."""
    return _with(command, _OPTIONS)


def manner_options(command: Command) -> Command:
    """Give a command `--json`, `--quiet` and `--verbose`."""
    return _with(command, _MANNERS)


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
