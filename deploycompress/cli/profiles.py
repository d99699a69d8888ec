"""`deploycompress profiles`: which target devices are known, and what is known of them."""

from __future__ import annotations

import json

import click

from deploycompress.cli.help_text import with_examples

GROUP_HELP = with_examples(
    "List and show device profiles.",
    "deploycompress profiles list",
    "deploycompress profiles show x86",
    "deploycompress profiles show --json ./my-device.toml",
)
LIST_HELP = with_examples("List the names that --profile understands.", "deploycompress profiles list")
SHOW_HELP = with_examples(
    "Show the profile NAME, a known name or a file, with its defaults filled in.", "deploycompress profiles show jetson"
)


@click.group("profiles", help=GROUP_HELP)
def profiles_group() -> None:
    """Hold the commands about profiles."""


@profiles_group.command("list", help=LIST_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(as_json: bool) -> int:
    """Print one name a line."""
    from deploycompress.profile import profile_names  # pydantic: not for --help

    names = list(profile_names())
    click.echo(json.dumps(names) if as_json else "\n".join(names))
    return 0


@profiles_group.command("show", help=SHOW_HELP)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show_command(name: str, as_json: bool) -> int:
    """Print one entry a line."""
    from deploycompress.profile import load_profile

    record = load_profile(name).model_dump(mode="json", by_alias=True)
    click.echo(json.dumps(record, indent=2) if as_json else "\n".join(_lines(record)))
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
