"""Which command is meant."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from deploycompress.cli.group import DefaultCommandGroup


@click.group(cls=DefaultCommandGroup, default_command="run")
@click.option("--version", is_flag=True, is_eager=True, callback=lambda ctx, _, asked: asked and ctx.exit(7))
def program(version: bool) -> None:
    """Help of the group."""


@program.command()
@click.option("--level")
@click.argument("file")
def run(level: str | None, file: str) -> None:
    """Help of run."""
    click.echo(f"run {level} {file}")


@program.command()
def show() -> None:
    """Help of show."""
    click.echo("show")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["run", "a.pt"], "run None a.pt"),
        (["a.pt"], "run None a.pt"),
        (["--level", "x", "a.pt"], "run x a.pt"),
        (["a.pt", "--level", "x"], "run x a.pt"),
        (["show"], "show"),
        (["./show"], "run None ./show"),
        (["run", "show"], "run None show"),
        (["--level", "x", "show"], "run x show"),
        (["--", "show"], "run None show"),
        (["--help"], "Help of the group."),
        (["--level", "x", "--help"], "Help of run."),
    ],
)
def test_the_default_command_is_meant_where_none_is_named(words: list[str], printed: str) -> None:
    result = CliRunner().invoke(program, words)
    assert result.exit_code == 0
    assert printed in result.stdout


def test_options_of_the_group_stay_its_own() -> None:
    assert CliRunner().invoke(program, ["--version"]).exit_code == 7


def test_no_words_at_all_show_help_on_stderr_as_a_usage_error() -> None:
    result = CliRunner().invoke(program, [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Help of the group." in result.stderr


def test_a_file_named_like_a_command_is_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("show").write_text("")
    assert CliRunner().invoke(program, ["show"]).stdout == "show\n"
    assert CliRunner().invoke(program, ["./show"]).stdout == "run None ./show\n"
