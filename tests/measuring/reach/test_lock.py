"""The device lock: one at a time, whoever waits comes next, and death opens it."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploycompress.measuring.agent.lock import BusyError, DeviceLock, FileGate, SocketGate
from deploycompress.measuring.agent.refusal import RefusedError

NewLock = Callable[[], DeviceLock]

# Takes turns for a while, holding the device for 20 ms each time, and prints when it held it.
TURNS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from deploycompress.measuring.agent.lock import DeviceLock, FileGate, SocketGate
from pathlib import Path
make = (lambda name: SocketGate(name)) if sys.argv[2] == "socket" else (lambda name: FileGate(Path(name)))
lock = DeviceLock(make(sys.argv[3]), make(sys.argv[3] + "-next"))
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    lock.acquire(30, lambda holder: None)
    begin = time.monotonic()
    time.sleep(0.02)
    print(begin, time.monotonic(), flush=True)
    lock.release()
"""
ROOT = Path(__file__).parents[3]
# Tries to lock a file as a user who may read it at most, and says how that went.
AS_ANOTHER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from deploycompress.measuring.agent.lock import FileGate
from deploycompress.measuring.agent.refusal import RefusedError
gate = FileGate(Path(sys.argv[2]))
os.chdir(os.path.dirname(sys.argv[2]))
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    print(gate.enter())
except RefusedError as error:
    print(error.kind, error)
"""


@pytest.fixture(params=["socket", "file"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "socket" and sys.platform != "linux":
        pytest.skip("names outside the file system exist on Linux only")
    return str(request.param)


@pytest.fixture
def name(kind: str, tmp_path: Path) -> str:
    return f"test-{uuid.uuid4()}" if kind == "socket" else str(tmp_path / "lock")


@pytest.fixture
def new_lock(kind: str, name: str) -> NewLock:
    if kind == "socket":
        return lambda: DeviceLock(SocketGate(name), SocketGate(f"{name}-next"))
    return lambda: DeviceLock(FileGate(Path(name)), FileGate(Path(f"{name}-next")))


def start_turns(kind: str, name: str, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", TURNS, str(ROOT), kind, name, str(seconds)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ignore(holder: str) -> None:
    return


def test_a_second_one_waits_and_is_told_who_holds_it(new_lock: NewLock) -> None:
    first, second = new_lock(), new_lock()
    first.acquire(1, ignore)
    holders: list[str] = []
    begin = time.monotonic()
    with pytest.raises(BusyError, match=r"process \d+"):
        second.acquire(0.3, holders.append)
    assert 0.3 <= time.monotonic() - begin < 2
    assert len(holders) == 1
    first.release()
    second.acquire(0.3, pytest.fail)
    second.release()


def test_a_lock_can_be_taken_again_and_again(new_lock: NewLock) -> None:
    lock = new_lock()
    for _ in range(3):
        lock.acquire(0, pytest.fail)
        lock.release()


def test_one_that_gave_up_waiting_stands_in_nobodys_way(new_lock: NewLock) -> None:
    first, second, third = new_lock(), new_lock(), new_lock()
    first.acquire(1, ignore)
    with pytest.raises(BusyError):
        second.acquire(0.05, ignore)
    first.release()
    third.acquire(0.5, pytest.fail)
    third.release()


def test_processes_in_turns_never_overlap_and_none_starves(kind: str, name: str) -> None:
    processes = [start_turns(kind, name, 1.5) for _ in range(3)]
    answers = [process.communicate("go\n", timeout=60)[0] for process in processes]
    held = [[tuple(map(float, line.split())) for line in answer.splitlines()] for answer in answers]
    in_order = sorted(span for part in held for span in part)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(in_order))
    assert min(map(len, held)) >= 0.5 * max(map(len, held)) >= 2


def test_death_of_the_holder_opens_the_lock(kind: str, name: str, new_lock: NewLock) -> None:
    holder = start_turns(kind, name, 60)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    lock = new_lock()
    lock.acquire(2, ignore)
    lock.release()


def enter_as_another(path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(ROOT), str(path)], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_another_users_lock_file_can_be_locked(open_folder: Path) -> None:
    path = open_folder / "lock"
    path.touch(0o444)
    path.chmod(0o444)
    assert enter_as_another(path) == "True\n"
    held = os.open(path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert enter_as_another(path) == "False\n"
    os.close(held)


def test_a_lock_file_that_cannot_be_read_is_no_full_disk(open_folder: Path) -> None:
    path = open_folder / "lock"
    path.touch()
    path.chmod(0o000)
    assert re.match(r"device The lock file \S+ .*cannot be opened \(Permission denied\)", enter_as_another(path))


def test_a_link_is_no_lock_file(open_folder: Path) -> None:
    (open_folder / "lock").symlink_to(open_folder / "other")
    with pytest.raises(RefusedError, match="cannot be opened"):
        FileGate(open_folder / "lock").enter()
    assert not (open_folder / "other").exists()
