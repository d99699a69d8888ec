"""What was measured is shared between processes, survives a kill, and never changes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploycompress.errors import OutputError, UsageError
from deploycompress.store.memory import Memory


def kept_in(path: Path, **entries: float) -> Memory:
    memory = Memory()
    for key, value in entries.items():
        memory.add(key, {"value": value})
    memory.keep_in(path)
    return memory


def test_without_a_file_it_is_a_mapping() -> None:
    memory = Memory()
    memory.add("a", {"value": 1.5})
    assert dict(memory) == {"a": {"value": 1.5}}
    assert "b" not in memory
    with pytest.raises(KeyError):
        memory["b"]


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    first, second = kept_in(tmp_path / "m"), kept_in(tmp_path / "m")
    for index in range(5):
        writer, reader = (first, second) if index % 2 else (second, first)
        writer.add(f"k{index}", {"value": 0.1 * index})
        assert reader[f"k{index}"] == {"value": 0.1 * index}
    assert dict(first) == dict(second) == dict(kept_in(tmp_path / "m"))
    assert len(first) == 5


def test_keeping_it_in_a_file_merges_both_and_the_file_is_right(tmp_path: Path) -> None:
    path = tmp_path / "m"
    kept_in(path, both=1.0, file=2.0)
    merged = kept_in(path, both=7.0, mine=3.0)
    expected = {"both": {"value": 1.0}, "file": {"value": 2.0}, "mine": {"value": 3.0}}
    assert dict(merged) == dict(kept_in(path)) == expected
    assert len(path.read_bytes().splitlines()) == 3


def test_an_entry_stays_as_it_was_first_written(tmp_path: Path) -> None:
    memory, other = kept_in(tmp_path / "m"), kept_in(tmp_path / "m")
    memory.add("a", {"value": 1.0})
    other.add("a", {"value": 2.0})
    memory.add("a", {"value": 3.0})
    alone = Memory()
    alone.add("a", {"value": 1.0})
    alone.add("a", {"value": 2.0})
    assert memory["a"] == other["a"] == kept_in(tmp_path / "m")["a"] == alone["a"] == {"value": 1.0}


@pytest.mark.parametrize("cut", range(1, 20))
def test_half_a_line_of_a_killed_writer_is_lost_alone(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "m"
    kept_in(path, a=1.0, b=2.0)
    path.write_bytes(path.read_bytes()[:-cut])
    memory, other = kept_in(path), kept_in(path)
    assert dict(memory) == {"a": {"value": 1.0}}
    memory.add("c", {"value": 3.0})
    other.add("d", {"value": 4.0})
    assert dict(memory) == dict(other) == dict(kept_in(path))
    assert list(kept_in(path)) == ["a", "c", "d"]


WRITER = """
import itertools, pathlib, sys
from deploycompress.store.memory import Memory
memory = Memory()
memory.keep_in(pathlib.Path(sys.argv[1]))
for index in itertools.count():
    memory.add(f"{sys.argv[2]}{index}", {"value": index})
"""


def test_processes_that_write_at_once_and_are_killed_lose_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m"
    memory = kept_in(path)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    try:
        while not {"a20", "b20"} <= memory.keys():
            assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    memory.add("last", {"value": -1.0})
    found = dict(kept_in(path))
    assert found.pop("last") == {"value": -1.0}
    for name in "ab":
        mine = {key: entry for key, entry in found.items() if key.startswith(name)}
        assert mine == {f"{name}{index}": {"value": float(index)} for index in range(len(mine))}


@pytest.mark.parametrize(
    "line", [b"{", b"7", b'["a"]', b'["a", 1]', b'["a", {"value": "x"}]', b"\xff", b'["a", {}, 1]']
)
def test_a_damaged_line_is_said(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(line + b"\n")
    with pytest.raises(UsageError, match=r"is damaged at .*delete it"):
        kept_in(path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        kept_in(tmp_path / "no folder" / "m")
    with pytest.raises(UsageError, match="cannot be read"):
        kept_in(tmp_path)


def test_a_file_that_goes_away_is_said(tmp_path: Path) -> None:
    memory = kept_in(tmp_path / "m")
    (tmp_path / "m").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        memory.get("a")
