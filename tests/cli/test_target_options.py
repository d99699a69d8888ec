"""The option `--target`: repeatable, from the environment, refused in words when it means nothing."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from deploycompress.cli.target_options import target_option
from deploycompress.errors import UsageError

EXEC = "exec:docker exec -i board python3 -I -c {bootstrap}"


@click.command()
@target_option
def show(targets: tuple[str, ...]) -> None:
    for target in targets:
        click.echo(target)


def shown(*words: str, environment: str | None = None) -> list[str]:
    result = CliRunner().invoke(show, words, env={"DEPLOYCOMPRESS_TARGET": environment}, catch_exceptions=False)
    return result.output.splitlines()


def test_without_it_there_is_no_target() -> None:
    assert shown() == []


def test_it_can_be_repeated_and_is_handed_on_as_written() -> None:
    assert shown("--target", "ssh://me@board-1", "--target", EXEC) == ["ssh://me@board-1", EXEC]


def test_the_environment_separates_targets_by_semicolons() -> None:
    assert shown(environment=f"ssh://me@board-1; {EXEC}") == ["ssh://me@board-1", EXEC]


def test_semicolons_around_nothing_are_fine() -> None:
    assert shown(environment=f"; ssh://me@board-1;; {EXEC} ; ") == ["ssh://me@board-1", EXEC]
    assert shown(environment=";") == []


def test_a_target_that_means_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown key 'pyton'") as caught:
        CliRunner().invoke(show, ["--target", "ssh://board?pyton=x"], standalone_mode=False, catch_exceptions=False)
    assert caught.value.exit_code == 2
