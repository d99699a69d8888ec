"""The one place where an exception becomes a sentence and an exit code."""

from __future__ import annotations

import json
import os
import platform
import select
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TextIO

import click

from deploycompress.errors import DeployCompressError

USAGE, INTERNAL = 2, 5
INTERRUPTED, OUTPUT_CLOSED, TERMINATED = 130, 141, 143  # 128 + the signal's number, as shells do

_PACKAGES = ("deploycompress", "torch", "torchvision", "onnx", "onnxruntime", "numpy", "click", "rich")


class Terminated(BaseException):
    """The process was asked to end by SIGTERM; not an `Exception`, so that nothing on the way swallows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How errors are shown; read from the words themselves, because parsing them may be what fails.

    Attributes:
        as_json: write errors as JSON to standard output, too.
        verbose: show the traceback of an internal error.
    """

    as_json: bool
    verbose: bool

    @staticmethod
    def from_words(words: Sequence[str]) -> Manner:
        """Look for `--json` and `--verbose` before any `--`, and in the environment."""
        options = set(words[: words.index("--")] if "--" in words else words)
        return Manner(
            as_json="--json" in options or _is_set("DEPLOYCOMPRESS_JSON"),
            verbose=bool(options & {"--verbose", "-v"}) or _is_set("DEPLOYCOMPRESS_VERBOSE"),
        )


def run_guarded(action: Callable[[], int], *, manner: Manner, words: Sequence[str]) -> int:
    """Run the program and turn whatever it raises into an exit code.

    Args:
        action: the program; returns its exit code.
        manner: how errors are shown.
        words: the command line, for the crash log.

    Returns:
        The action's exit code, or that of its failure.
    """
    try:
        code = action()
        sys.stdout.flush()
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _report("interrupted", INTERRUPTED, manner=Manner(as_json=False, verbose=False))
    except Terminated:
        return _report("terminated", TERMINATED, manner=Manner(as_json=False, verbose=False))
    except click.ClickException as error:
        return _report(_usage_sentence(error), USAGE, manner=manner)
    except DeployCompressError as error:
        return _report(str(error), error.exit_code, manner=manner)
    except Exception as error:  # noqa: BLE001  the boundary: nothing above would show it better
        return OUTPUT_CLOSED if _lost_its_reader(error) else _report_crash(error, manner=manner, words=words)
    return code


def _report(message: str, code: int, *, manner: Manner) -> int:
    sentence = " ".join(message.split())
    click.echo(f"error: {sentence}", err=True)
    if manner.as_json:
        click.echo(json.dumps({"error": {"code": code, "message": sentence}}))
    return code


def _usage_sentence(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    help_hint = f" See '{context.command_path} --help'." if context is not None else ""
    return f"{error.format_message()}{help_hint}"


def _report_crash(error: Exception, *, manner: Manner, words: Sequence[str]) -> int:
    trace = "".join(traceback.format_exception(error))
    try:
        where = f"details are in {_write_crash_log(trace, words)}, please report it with that file"
    except OSError as unwritable:
        where = f"and no crash log could be written ({unwritable}); run again with --verbose for the details"
    if manner.verbose:
        click.echo(trace, err=True, nl=False)
    return _report(f"internal error: {type(error).__name__}: {error}; {where}.", INTERNAL, manner=manner)


def _write_crash_log(trace: str, words: Sequence[str]) -> str:
    handle, path = tempfile.mkstemp(prefix="deploycompress-crash-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as log:
        log.write(f"command line: {json.dumps(list(words))}\n")
        log.write(f"python {platform.python_version()} on {platform.platform()}\n")
        log.writelines(f"{name} {installed_version(name)}\n" for name in _PACKAGES)
        log.write(f"\n{trace}")
    return path


def installed_version(package: str) -> str:
    """Look up a package's version without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _lost_its_reader(error: Exception) -> bool:
    """Tell an output whose reader has left from a pipe that broke elsewhere, which is our own bug."""
    if not isinstance(error, BrokenPipeError):
        return False
    abandoned = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
    for stream in abandoned:  # else the interpreter complains while it closes them
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(abandoned)


def _has_no_reader(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (OSError, AttributeError):  # no file behind the stream, or no poll on this system
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in {"1", "true", "t", "yes", "y", "on"}
