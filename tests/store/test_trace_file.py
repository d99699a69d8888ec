"""What stays on the disk when a process is killed, and what is said of damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploycompress.errors import OutputError, UsageError
from deploycompress.store.trace_file import append_line, read_lines, write_whole

one_line = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(texts=st.lists(one_line, max_size=6), cut=st.integers(0, 200))
def test_whatever_a_kill_leaves_the_finished_lines_are_read_and_the_file_goes_on(
    texts: list[str], cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    path.unlink(missing_ok=True)
    path.touch()
    for text in texts:
        append_line(path, text)
    left = path.read_bytes()[:cut]
    path.write_bytes(left)
    finished = tuple(texts[: left.count(b"\n")])
    assert read_lines(path) == finished
    append_line(path, "next")
    assert read_lines(path) == (*finished, "next")


def test_a_line_break_inside_a_line_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="One line"):
        append_line(tmp_path / "trace.jsonl", "a\nb")
    assert not list(tmp_path.iterdir())


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"good\n\xff\xfe\ngood\n")
    with pytest.raises(UsageError, match=r"Line 2 of .*trace\.jsonl is not UTF-8"):
        read_lines(path)


def test_a_half_written_letter_in_the_last_line_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes("good\nß".encode()[:-1])
    assert read_lines(path) == ("good",)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.jsonl cannot be read: No such file"):
        read_lines(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("write", [append_line, write_whole])
def test_a_folder_that_is_not_there_is_an_output_error(write: object, tmp_path: Path) -> None:
    assert callable(write)
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write(tmp_path / "missing" / "file", "text")


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, "old")
    write_whole(path, "new ß")
    assert path.read_text(encoding="utf-8") == "new ß"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_refused_replacement_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OutputError, match=r"state\.json cannot be written"):
        write_whole(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    versions = [letter * 200_000 for letter in "ab"]
    write_whole(path, versions[0])

    def write() -> None:
        for number in range(20):
            write_whole(path, versions[number % 2])

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_text(encoding="utf-8")}
    while writer.is_alive():
        seen.add(path.read_text(encoding="utf-8"))
    writer.join()
    assert seen <= set(versions)


WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
from deploycompress.store.trace_file import append_line
for number in range(100_000):
    append_line(Path(sys.argv[1]), f"{number} " + "x" * 5000)
    print(number, flush=True)
"""


def test_every_line_that_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    command = [sys.executable, "-c", WRITES_UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(20)][-1]
        os.kill(process.pid, signal.SIGKILL)
    lines = read_lines(path)
    assert len(lines) > acknowledged
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    assert all(line.endswith("x" * 5000) for line in lines)
