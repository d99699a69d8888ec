"""`deploycompress check`: a gate for CI; limits and regressions in, an exit code out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.measure_options import manner_options, profile_option, sampling_options
from deploycompress.cli.model_options import loading_options
from deploycompress.cli.preflight import check_model
from deploycompress.cli.target_options import target_option
from deploycompress.cli.types import ConstraintExpression
from deploycompress.errors import UsageError

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"

HELP = with_examples(
    "Measure MODEL and judge it: exit 0 when every limit is shown to hold, 1 when one is shown not to, else 4.",
    "deploycompress check --profile x86 --constraint 'latency_ms <= 8' model.onnx",
    "deploycompress check --profile x86 --constraint 'latency_ratio <= 0.5' --against teacher.onnx model.onnx",
    "deploycompress check --profile x86 --baseline main/result.json --max-regression latency=5% model.onnx",
    "deploycompress check --profile x86 --against teacher.onnx --junit check.xml --github model.onnx",
    afterwards="A limit holds when the whole interval of what was measured is on its right side. Where the interval is "
    "on both sides, the model is measured once more, thoroughly.",
)


class CheckOptions(TypedDict):
    """What click hands over, by parameter name."""

    model: Path
    profile: str
    targets: tuple[str, ...]
    constraints: tuple[str, ...]
    against: Path | None
    baseline: Path | None
    max_regression: tuple[str, ...]
    allow_proxy: bool
    starts: int | None
    max_seconds: float | None
    input_shape: tuple[int, ...] | None
    arch: str | None
    trust: bool
    allow: tuple[str, ...]
    junit: Path | None
    markdown: Path | None
    github: bool
    as_json: bool
    quiet: bool
    verbose: bool


@click.command(
    "check",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@profile_option
@target_option
@click.option(
    "--constraint",
    "constraints",
    type=ConstraintExpression(),
    multiple=True,
    help="Replaces the profile's constraints, such as 'latency_ms <= 8'; repeatable.",
    envvar="DEPLOYCOMPRESS_CONSTRAINT",
)
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="TEACHER", help="The model that limits on ratios refer to."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An earlier result.json or model.onnx. With the model at hand both are measured in turns; figures of a "
    "result.json count on the same machine, runtime and profile only.",
)
@click.option(
    "--max-regression",
    multiple=True,
    metavar="NAME=PERCENT%",
    help="How much worse than the baseline is allowed: latency, params, macs, weights, file, activation_peak or "
    "peak_rss; repeatable.",
)
@click.option(
    "--allow-proxy",
    is_flag=True,
    allow_from_autoenv=False,
    help="Judge absolute limits by what another machine than the profile's device measures.",
)
@sampling_options
@loading_options
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML, too.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write a page of Markdown, too.")
@click.option(
    "--github",
    is_flag=True,
    help=f"Print annotations on standard error, and put a page to the job summary (${SUMMARY_VARIABLE}).",
)
@manner_options
def check_command(**options: Unpack[CheckOptions]) -> int:
    """Print a table, or all of it as JSON, and write the reports that were asked for."""
    from deploycompress.profile_files import load_profile  # pydantic: not for --help

    for path in (options["model"], options["against"]):
        if path is not None:
            check_model(path)
    device = load_profile(options["profile"])
    _check_places(options)

    from deploycompress.pipeline.check import check
    from deploycompress.report.check_table import print_check
    from deploycompress.report.listener import open_progress

    # Standard output belongs to the result alone, and libraries print to it.
    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=options["quiet"]) as progress:
        document = check(
            options["model"],
            profile=device,
            constraints=options["constraints"],
            against=options["against"],
            baseline=options["baseline"],
            max_regression=options["max_regression"],
            allow_proxy=options["allow_proxy"],
            targets=options["targets"],
            starts=options["starts"],
            max_seconds=options["max_seconds"],
            input_shape=options["input_shape"],
            arch=options["arch"],
            trust=options["trust"],
            allow=options["allow"],
            progress=progress,
        )  # fmt: skip
    if options["as_json"]:
        click.echo(json.dumps(document, indent=2))
    else:
        print_check(document, sys.stdout)
    _write_reports(document, options)
    return int(document["exit_code"])


def _check_places(options: CheckOptions) -> None:
    from deploycompress.report.junit import check_junit_place
    from deploycompress.report.markdown import check_markdown_place

    if options["junit"] is not None and options["junit"] == options["markdown"]:
        raise UsageError(f"--junit and --markdown name the same file {str(options['junit'])!r}; give two.")
    if options["junit"] is not None:
        check_junit_place(options["junit"])
    if options["markdown"] is not None:
        check_markdown_place(options["markdown"])


def _write_reports(document: Mapping[str, Any], options: CheckOptions) -> None:  # Any: JSON
    from deploycompress.report.annotations import check_annotations
    from deploycompress.report.junit import write_junit
    from deploycompress.report.markdown import append_summary, write_markdown

    if options["junit"] is not None:
        write_junit(options["junit"], document)
    if options["markdown"] is not None:
        write_markdown(options["markdown"], document)
    if not options["github"]:
        return
    for line in check_annotations(document):
        click.echo(line, err=True)  # GitHub reads both streams, and standard output may be JSON
    summary = os.environ.get(SUMMARY_VARIABLE)
    if summary and not append_summary(Path(summary), document):
        click.echo("warning: the job summary is full; this result is not in it.", err=True)
