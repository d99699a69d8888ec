"""The option that says where to measure, shared by all commands that measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: whatever options the command takes


class TargetText(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases of click only
    """A target, checked at once and handed on as its author wrote it."""

    name = "target"
    envvar_list_splitter = ";"  # commands hold spaces, at which click would split

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split, and take no text between two semicolons or after the last one for a target."""
        return [text for text in super().split_envvar_value(rv) if text.strip()]

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Check the target."""
        from deploycompress.measuring.reach.target import parse_target  # heavy: not for --help

        text = str(value).strip()
        parse_target(text)
        return text


def target_option(command: Command) -> Command:
    """Give a command `--target`; it receives `targets`, a tuple of texts that is empty for this machine."""
    return click.option(
        "--target",
        "targets",
        type=TargetText(),
        multiple=True,
        metavar="TARGET",
        envvar="DEPLOYCOMPRESS_TARGET",
        help="Where to measure: local, ssh://user@host:port?python=/path/to/python3, or 'exec:COMMAND' with "
        "{bootstrap} in it, such as 'exec:docker exec -i board python3 -I -c {bootstrap}'. Repeat it for several "
        "boards: the first that answers measures, and compress shares the work among all. In DEPLOYCOMPRESS_TARGET "
        "they are separated by ';'.  [default: local]",
    )(command)
