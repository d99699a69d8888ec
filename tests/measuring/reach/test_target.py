"""Texts of targets: what they become, and which are refused."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deploycompress.errors import UsageError
from deploycompress.measuring.reach.bundle import BOOTSTRAP
from deploycompress.measuring.reach.target import LOCAL, parse_target


def test_local_is_this_interpreter() -> None:
    assert parse_target("local") is LOCAL
    assert LOCAL.argv("text") == [sys.executable, "-I", "-B", "-c", "text"]


def options_of(words: list[str]) -> list[str]:
    return [value for flag, value in itertools.pairwise(words) if flag == "-o"]


def test_an_ssh_target_asks_nobody_and_forwards_nothing() -> None:
    words = parse_target("ssh://jetson@board.lan:2222?python=/opt/venv/bin/python3").argv(BOOTSTRAP)
    assert words[:4] == ["ssh", "-T", "-a", "-x"]
    assert {"BatchMode=yes", "ClearAllForwardings=yes", "RequestTTY=no"} <= set(options_of(words))
    assert not [option for option in options_of(words) if option.startswith("StrictHostKeyChecking")]
    assert words[words.index("-l") + 1] == "jetson"
    assert words[words.index("-p") + 1] == "2222"
    assert words[-3:-1] == ["--", "board.lan"]
    assert shlex.split(words[-1]) == ["exec", "/opt/venv/bin/python3", "-I", "-B", "-c", BOOTSTRAP]


def test_files_of_an_ssh_target_are_those_named(tmp_path: Path) -> None:
    for name in ("id", "my config", "hosts+1"):
        (tmp_path / name).touch()
    words = parse_target(
        f"ssh://board?identity={tmp_path}/id&config={tmp_path}/my%20config&known_hosts={tmp_path}/hosts+1"
    ).argv("x")
    assert words[words.index("-i") + 1] == f"{tmp_path}/id"
    assert words[words.index("-F") + 1] == f"{tmp_path}/my config"
    assert f'UserKnownHostsFile="{tmp_path}/hosts+1"' in options_of(words)


def test_ssh_itself_reads_the_words_as_they_are_meant(tmp_path: Path) -> None:
    (tmp_path / "a b").touch()
    words = parse_target(f"ssh://me@[::1]:2200?known_hosts={tmp_path}/a%20b")
    told = subprocess.run(
        [*words.argv("x")[:1], "-G", *words.argv("x")[1:]], capture_output=True, text=True, check=True
    )
    lines = told.stdout.splitlines()
    assert {"user me", "hostname ::1", "port 2200", "batchmode yes", "forwardagent no", "forwardx11 no"} <= set(lines)
    assert f"userknownhostsfile {tmp_path}/a b" in told.stdout.replace('"', "")


def test_an_exec_target_keeps_its_words() -> None:
    assert parse_target("exec:docker exec -i 'my board' python3 -I -c {bootstrap}").argv("a b") == [
        *("docker", "exec", "-i", "my board", "python3", "-I", "-c", "a b")
    ]
    assert parse_target("exec:adb shell -T python3 -c {bootstrap_quoted}").argv("a b")[-1] == "'a b'"
    assert parse_target("exec:sh -c 'cd / && python3 -c {bootstrap_quoted}'").argv("a b")[-1] == (
        "cd / && python3 -c 'a b'"
    )


def test_the_name_of_a_target_has_no_options() -> None:
    assert parse_target("ssh://me@board:22?python=/x").name == "ssh://me@board:22"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jetson", "is not known; write local"),
        ("", "is not known"),
        ("SSH://board", "is not known"),
        ("ssh://", "for a host"),
        ("ssh://-oProxyCommand=touch%20x", "for a host"),
        ("ssh://-board", "for a host"),
        ("ssh://me@-board", "for a host"),
        ("ssh://-me@board", "odd characters"),
        ("ssh://a b@board", "odd characters"),
        ("ssh://me;x@board", "odd characters"),
        ("ssh://board;reboot", "for a host"),
        ("ssh://boärd", "for a host"),
        ("ssh://me:secret@board", "no password"),
        ("ssh://board:99999", "no address"),
        ("ssh://board:x", "no address"),
        ("ssh://[::zz]:22", "no address|no IPv6 address"),
        ("ssh://board/home", "more than a host"),
        ("ssh://board#x", "more than a host"),
        ("ssh://board?pyhton=/usr/bin/python3", "unknown key 'pyhton'; known are python, identity"),
        ("ssh://board?python", "no value"),
        ("ssh://board?python=", "no value"),
        ("ssh://board?python=python3&python=python2", "twice"),
        ("ssh://board?python=python3;reboot", "no path of an interpreter"),
        ("ssh://board?python=$(reboot)", "no path of an interpreter"),
        ("ssh://board?python=-c", "no path of an interpreter"),
        ("ssh://board?python=a%20b", "no path of an interpreter"),
        ("ssh://board?identity=/no/such/file", "no such file"),
        ("ssh://board?known_hosts=/tmp/%22x", "no file name"),
        ("ssh://board?identity=%25d/x", "no file name"),
        ("exec:docker exec -i board python3", "one place for the agent's first line"),
        ("exec:{bootstrap}", "needs a program"),
        ("exec:", "needs a program"),
        ("exec:python3 -c {bootstrap} {bootstrap}", "one place"),
        ("exec:python3 -c {bootstrap} {bootstrap_quoted}", "one place"),
        ("exec:sh -c 'python3 -c {bootstrap}'", "must be a word of its own"),
        ("exec:sh -c 'python3 {bootstrap_quoted}", "cannot be split"),
        ("exec:python3 -c {bootstrap}\x07", "cannot be printed"),
    ],
)
def test_a_text_that_means_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_target(text)
    assert caught.value.exit_code == 2
