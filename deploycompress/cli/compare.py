"""`deploycompress compare`: whether one model is faster than another."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.measure_options import manner_options, profile_option, sampling_options
from deploycompress.cli.model_options import loading_options
from deploycompress.cli.preflight import check_model
from deploycompress.cli.target_options import target_option

HELP = with_examples(
    "Say how the latency of the model B compares with that of A, and whether samples can tell them apart.",
    "deploycompress compare --profile x86 teacher.onnx student.onnx",
    "deploycompress compare --profile x86 --json a.onnx b.onnx",
    afterwards="Exits 0 whatever the answer is; 'deploycompress check' judges.",
)


@click.command(
    "compare",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@profile_option
@target_option
@sampling_options
@loading_options
@manner_options
def compare_command(
    first: Path,
    second: Path,
    profile: str,
    targets: tuple[str, ...],
    starts: int | None,
    max_seconds: float | None,
    input_shape: tuple[int, ...] | None,
    arch: str | None,
    trust: bool,
    allow: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Print a sentence and the ratio with its interval, or all of it as JSON."""
    del verbose  # the program reads it before any command runs
    from deploycompress.profile_files import load_profile  # pydantic: not for --help

    check_model(first)
    check_model(second)
    device = load_profile(profile)

    from deploycompress.pipeline.compare import compare
    from deploycompress.report.comparison import render_comparison
    from deploycompress.report.listener import open_progress

    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=quiet) as progress:
        document = compare(
            first, second, profile=device, targets=targets, starts=starts, max_seconds=max_seconds,
            input_shape=input_shape, arch=arch, trust=trust, allow=allow, progress=progress,
        )  # fmt: skip
    click.echo(json.dumps(document, indent=2) if as_json else render_comparison(document))
    return 0
