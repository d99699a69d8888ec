"""The program: command line in, exit code out."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from deploycompress.cli.bench import bench_command
from deploycompress.cli.boundary import Manner, Terminated, installed_version, run_guarded
from deploycompress.cli.check import check_command
from deploycompress.cli.compare import compare_command
from deploycompress.cli.compress import compress_command
from deploycompress.cli.doctor import doctor_command
from deploycompress.cli.group import DefaultCommandGroup
from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.inspect import inspect_command
from deploycompress.cli.profiles import profiles_group
from deploycompress.cli.report import report_command
from deploycompress.cli.resume import resume_command

HELP = with_examples(
    "Shrink a trained network until it meets a device's limits, and ship it as ONNX.",
    "deploycompress --profile x86 --data ./train model.onnx",
    "deploycompress --profile x86 --constraint 'latency_ratio <= 0.5' --budget 30m \\\n"
    "    --arch 'torchvision:resnet18(num_classes=10)' --input-shape 1,3,224,224 \\\n"
    "    --data 'train-*.npz' --test-data test.npz weights.pt",
    "deploycompress inspect --profile x86 model.onnx",
    "deploycompress profiles list",
    "deploycompress resume resnet18-x86",
    "deploycompress report resnet18-x86",
    afterwards="compress is the command meant where none is named; its options: deploycompress compress --help",
)


def _print_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        click.echo(f"deploycompress {installed_version('deploycompress')}")
        context.exit()


@click.group(
    cls=DefaultCommandGroup,
    default_command="compress",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def program() -> None:
    """Hold the commands; each does its own work."""


program.add_command(bench_command)
program.add_command(check_command)
program.add_command(compare_command)
program.add_command(compress_command)
program.add_command(doctor_command)
program.add_command(inspect_command)
program.add_command(profiles_group)
program.add_command(report_command)
program.add_command(resume_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the program as a process of its own.

    Args:
        args: words after the program's name, those of this process when None.

    Returns:
        Exit code.
    """
    words = list(sys.argv[1:] if args is None else args)
    manner = Manner.from_words(words)
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        with warnings.catch_warnings():
            if not manner.verbose and not sys.warnoptions:
                warnings.simplefilter("ignore")  # other packages' remarks to programmers, not to our users
            logging.basicConfig(level=logging.INFO if manner.verbose else logging.ERROR, format="%(name)s: %(message)s")
            return run_guarded(lambda: _run(words), manner=manner, words=words)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(words: list[str]) -> int:
    """Do what `program.main` does, without its own handling of errors: there is one boundary."""
    complete = getattr(program, "_main_shell_completion", None)
    if complete is not None:
        complete({}, "deploycompress", "_DEPLOYCOMPRESS_COMPLETE")
    with program.make_context("deploycompress", words) as context:
        code = program.invoke(context)
    return code if isinstance(code, int) else 0


def _raise_terminated(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signal module's signature
    raise Terminated
