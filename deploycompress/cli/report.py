"""`deploycompress report`: pictures of a search."""

from __future__ import annotations

from pathlib import Path

import click

from deploycompress.cli.help_text import with_examples

HELP = with_examples(
    "Draw the search whose trace is in the folder DIR: rewards, sparsity by layer, accuracy against latency.",
    "deploycompress report slim",
    afterwards="Needs matplotlib: pip install 'deploycompress[report]'.",
)


@click.command("report", help=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the pictures.  [default: DIR/plots]"
)
def report_command(folder: Path, out: Path | None) -> int:
    """Write the plots of a finished or unfinished search, and print their paths."""
    from deploycompress.pipeline.pictures import draw_search  # brings numpy along: not for --help

    for path in draw_search(folder, out or folder / "plots"):
        click.echo(path)
    return 0
