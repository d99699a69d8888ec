"""`deploycompress resume`: go on with a run that was interrupted."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from deploycompress.cli.compress import print_result
from deploycompress.cli.help_text import EXIT_CODES, with_examples

HELP = with_examples(
    "Go on with the run whose unfinished search is in the folder DIR; the same plans follow as without interruption.",
    "deploycompress resume slim",
    "deploycompress resume --trust slim",
)


@click.command("resume", help=HELP, epilog=EXIT_CODES)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--trust",
    is_flag=True,
    help="Load code that the run names: --arch, --metric, --trust, --allow, a data factory, or a target that may run "
    "commands.",
)
@click.option("--json", "as_json", is_flag=True, envvar="DEPLOYCOMPRESS_JSON", help="Print result.json, not a summary.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, warnings only.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens; show tracebacks of internal errors.")
def resume_command(folder: Path, trust: bool, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Finish a run; exit 0 when all constraints are met, 1 when not."""
    del verbose  # the program reads it before any command runs
    from deploycompress.pipeline.run import resume  # brings torch along: not for --help
    from deploycompress.report.listener import open_progress

    with redirect_stdout(sys.stderr), open_progress(sys.stderr, quiet=quiet) as progress:
        result = resume(folder, trust=trust, progress=progress)
    return print_result(result, as_json=as_json)
