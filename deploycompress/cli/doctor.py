"""`deploycompress doctor`: would measuring work here, or on a device, and what is missing."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout

import click

from deploycompress.cli.help_text import EXIT_CODES, with_examples
from deploycompress.cli.target_options import target_option

HELP = with_examples(
    "Find out whether measuring would work, and what is missing: versions, execution providers, clock, load.",
    "deploycompress doctor",
    "deploycompress doctor --profile raspberry-pi-5 --target ssh://pi@board",
    afterwards="Starts the measuring agent and times a small convolution; exits with 0 when that works, else with 4.",
)


@click.command(
    "doctor",
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"auto_envvar_prefix": "DEPLOYCOMPRESS", "show_default": True},
)
@click.option("--profile", metavar="NAME|FILE", help="Ask whether it would work as this device's runtime is set up.")
@target_option
@click.option("--json", "as_json", is_flag=True, envvar="DEPLOYCOMPRESS_JSON", help="Print a JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors.")
def doctor_command(
    profile: str | None,
    targets: tuple[str, ...],
    as_json: bool,
    verbose: bool,  # noqa: ARG001  read by the boundary
) -> int:
    """Print tables, or all of it as JSON."""
    from deploycompress.profile_files import load_profile  # pydantic: not for --help

    device = None if profile is None else load_profile(profile)

    from deploycompress.measuring.reach.target import LOCAL, parse_target
    from deploycompress.pipeline.doctor import diagnose
    from deploycompress.report.doctor_table import print_diagnosis

    places = [parse_target(text) for text in targets] or [LOCAL]
    with redirect_stdout(sys.stderr):  # standard output belongs to the result alone
        document = diagnose(places, device)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        print_diagnosis(document, sys.stdout)
    return 0 if document["would_measure"] else 4
