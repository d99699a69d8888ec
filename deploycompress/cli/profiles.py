"""`deploycompress profiles`: which target devices are known, what is known of them, and new ones."""

from __future__ import annotations

import json
import sys

import click

from deploycompress.cli.calibrate import calibrate_command
from deploycompress.cli.help_text import with_examples

GROUP_HELP = with_examples(
    "List, show, check and make device profiles.",
    "deploycompress profiles list",
    "deploycompress profiles show x86",
    "deploycompress profiles new my-device --here",
    "deploycompress profiles validate ./my-device.toml",
    "deploycompress profiles calibrate my-device --model model.onnx",
)
LIST_HELP = with_examples("List the names that --profile understands.", "deploycompress profiles list")
SHOW_HELP = with_examples(
    "Show the profile NAME, a known name or a file, with its defaults filled in.", "deploycompress profiles show jetson"
)
VALIDATE_HELP = with_examples(
    "Check profiles, known names or files: everything that is wrong with each, and what is risky.",
    "deploycompress profiles validate profiles/*.toml",
    afterwards="Exits with 2 when any of them is wrong.",
)
NEW_HELP = with_examples(
    "Write a new profile to ./profiles/NAME.toml, or to NAME when it is the path of a .toml file.",
    "deploycompress profiles new my-device",
    "deploycompress profiles new my-device --from raspberry-pi-5 --here",
)
SCHEMA_HELP = with_examples(
    "Print the JSON Schema of profiles, with which editors complete and check them.",
    "deploycompress profiles schema > profiles/profile.schema.json",
    afterwards="An editor finds it when a profile's first line is `#:schema ./profile.schema.json`.",
)


@click.group("profiles", help=GROUP_HELP)
def profiles_group() -> None:
    """Hold the commands about profiles."""


profiles_group.add_command(calibrate_command)


@profiles_group.command("list", help=LIST_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(as_json: bool) -> int:
    """Print a table."""
    from deploycompress.pipeline.profile_overview import list_profiles  # pydantic: not for --help
    from deploycompress.report.profile_table import profile_table
    from deploycompress.report.text_table import print_table

    documents = list_profiles()
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    else:
        print_table(profile_table(documents), sys.stdout)
    return 0


@profiles_group.command("show", help=SHOW_HELP)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show_command(name: str, as_json: bool) -> int:
    """Print one entry a line."""
    from deploycompress.profile_files import load_profile

    record = load_profile(name).model_dump(mode="json", by_alias=True)
    click.echo(json.dumps(record, indent=2) if as_json else "\n".join(_lines(record)))
    return 0


@profiles_group.command("validate", help=VALIDATE_HELP)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def validate_command(files: tuple[str, ...], as_json: bool) -> int:
    """Print one finding a line."""
    from deploycompress.pipeline.profile_overview import check_profiles

    documents = check_profiles(files)
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    else:
        for document in documents:
            findings = [(kind, text) for kind in ("problem", "warning") for text in document[f"{kind}s"]]
            for kind, text in findings or [("ok", "")]:
                click.echo(f"{document['profile']}: {kind}{': ' if text else ''}{text}")
    return 2 if any(document["problems"] for document in documents) else 0


@profiles_group.command("new", help=NEW_HELP)
@click.argument("name")
@click.option("--from", "base", metavar="NAME|FILE", help="Start from this profile.")
@click.option("--here", is_flag=True, help="Fill in architecture, processor, memory and cores of this machine.")
def new_command(name: str, base: str | None, here: bool) -> int:
    """Write the file and print its path."""
    from deploycompress.pipeline.new_profile import destination_of, new_profile, write_new

    path = destination_of(name)
    write_new(path, new_profile(base=base, here=here))
    click.echo(path)
    return 0


@profiles_group.command("schema", help=SCHEMA_HELP)
def schema_command() -> int:
    """Print JSON."""
    from deploycompress.profile_schema import profile_schema

    click.echo(json.dumps(profile_schema(), indent=2))
    return 0


def _lines(value: object, prefix: str = "") -> list[str]:
    """Write nested tables as one `table.key = value` a line."""
    if isinstance(value, dict):
        return [
            line for key, entry in value.items() for line in _lines(entry, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return [line for index, entry in enumerate(value) for line in _lines(entry, f"{prefix}[{index}]")]
    return [f"{prefix} = {json.dumps(value, ensure_ascii=False)}"]
