"""The model argument and the options that say how to load it, shared by all commands that read a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deploycompress.cli.types import InputShape

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: whatever options the command takes

_INPUT_SHAPE = click.option(
    "--input-shape", type=InputShape(), help="Such as 1,3,32,32; by default what the file says, or the data."
)
_ARCH = click.option(
    "--arch",
    metavar="SPEC",
    help="Network of a state dict: package.module:factory (the current folder is importable) or "
    "'torchvision:resnet18(num_classes=10)'.",
)
_TRUST = click.option(
    "--trust", is_flag=True, allow_from_autoenv=False, help="Load a file that may run code of its own."
)
_ALLOW = click.option(
    "--allow",
    multiple=True,
    allow_from_autoenv=False,
    metavar="MODULE:CLASS",
    help="Let a pickled model use this class; repeatable.",
)


def model_argument(command: Command) -> Command:
    """Give a command the words that `only_model` reads."""
    return click.argument("model", nargs=-1, metavar="MODEL")(command)


def loading_options(command: Command) -> Command:
    """Give a command `--input-shape`, `--arch`, `--trust` and `--allow`, shown in this order."""
    for option in (_ALLOW, _TRUST, _ARCH, _INPUT_SHAPE):
        command = option(command)
    return command


def only_model(words: tuple[str, ...]) -> Path:
    """Give the one model file that was named.

    Raises:
        click.UsageError: none or several were.
    """
    if len(words) == 1:
        return Path(words[0])
    if not words:
        raise click.UsageError("The model file is missing.", click.get_current_context())
    hint = " If the shell expanded a pattern given to an option, quote it: --data 'train-*.npz'."
    raise click.UsageError(
        f"One model file is expected, got {len(words)}: {' '.join(words[:4])}{' ...' if len(words) > 4 else ''}."
        + (hint if any(word.endswith(".npz") for word in words) else ""),
        click.get_current_context(),
    )
