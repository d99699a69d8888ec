"""Reaching a device through a real OpenSSH server: what works, what is left behind, and how failures are told apart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.board import Board
from deploycompress.measuring.reach.failures import UnfitDeviceError, UnreachableError
from deploycompress.measuring.reach.target import parse_target
from deploycompress.profile import Profile
from tests.measuring.networks import conv_net, endless_net, heavy_weights_net
from tests.measuring.reach.asking import activation_peak
from tests.measuring.reach.sshd import SshServer


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def test_a_model_is_measured_over_ssh_as_on_this_machine(board: SshServer, profile: Profile) -> None:
    found = []
    for text in (board.target(), "local"):
        agent = Board(profile, parse_target(text))
        found.append(activation_peak(agent, conv_net()))
        agent.close()
    assert found[0] == found[1] > 0


def test_nothing_is_left_behind(board: SshServer, profile: Profile) -> None:
    agent = Board(profile, parse_target(board.target()))
    activation_peak(agent, conv_net())
    assert [name for name in board.left_behind() if name.startswith("deploycompress-agent-")]
    agent.close()
    assert wait_until(lambda: not board.left_behind() and not board.agents())


def test_a_cut_connection_ends_the_agent_even_while_native_code_runs(board: SshServer) -> None:
    process = MeasuringProcess(parse_target(board.target()))
    failure: list[FailedMeasurementError] = []

    def measure() -> None:
        try:
            activation_peak(process, endless_net(), timeout_seconds=60)
        except FailedMeasurementError as error:
            failure.append(error)

    waiting = threading.Thread(target=measure)
    waiting.start()
    time.sleep(1.5)
    assert board.agents()
    os.kill(process.pid, signal.SIGKILL)  # the ssh client: what a lost network is to the device
    waiting.join()
    assert failure[0].kind is FailureKind.CRASH
    assert wait_until(lambda: not board.left_behind() and not board.agents())


def test_a_killed_agent_takes_its_files_with_it(board: SshServer, profile: Profile) -> None:
    process = MeasuringProcess(parse_target(board.target()))
    (agent, *_) = board.agents()
    os.kill(agent, signal.SIGKILL)
    assert wait_until(lambda: not board.left_behind())
    process.close()


def test_a_model_is_sent_once(board: SshServer, profile: Profile) -> None:
    megabyte = 2**20
    model = heavy_weights_net(8)
    agent = Board(profile, parse_target(board.target()))
    sizes = []
    for _ in range(2):
        before = bytes_read_by(agent.pid)
        activation_peak(agent, model)
        sizes.append(bytes_read_by(agent.pid) - before)
    agent.close()
    assert sizes[0] > 8 * megabyte > megabyte > sizes[1]


def bytes_read_by(pid: int | None) -> int:
    if pid is None:
        return 0
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


def test_a_crash_is_tried_once_more(board: SshServer, profile: Profile) -> None:
    agent = Board(profile, parse_target(board.target()))
    activation_peak(agent, conv_net())
    killer = threading.Timer(1.0, lambda: os.kill(board.agents()[0], signal.SIGKILL))
    killer.start()
    with pytest.raises(FailedMeasurementError) as caught:  # the second attempt runs into the time limit
        activation_peak(agent, endless_net(), timeout_seconds=4)
    killer.join()
    assert caught.value.kind is FailureKind.HANG
    assert activation_peak(agent, conv_net()) > 0
    agent.close()


def test_a_board_that_cannot_be_reached_again_is_unreachable(board: SshServer, profile: Profile) -> None:
    agent = Board(profile, parse_target(board.target()))
    activation_peak(agent, conv_net())
    killer = threading.Timer(1.0, board.kill)
    killer.start()
    with pytest.raises(UnreachableError, match="no ssh server listens"):
        activation_peak(agent, endless_net(), timeout_seconds=30)
    killer.join()
    agent.close()


def test_an_unknown_host_key(board: SshServer, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(UnreachableError, match="host key is not known"):
        MeasuringProcess(parse_target(board.target(known_hosts=str(empty))))
    assert not empty.read_text()


def test_a_changed_host_key(board: SshServer, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    changed = tmp_path / "known_hosts"
    changed.write_text(f"[127.0.0.1]:{board.port} {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(UnreachableError, match="another host key than the known one"):
        MeasuringProcess(parse_target(board.target(known_hosts=str(changed))))


def test_a_key_that_is_not_let_in(board: SshServer, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(UnreachableError, match="does not let this account in"):
        MeasuringProcess(parse_target(board.target(identity=str(tmp_path / "other"))))


def test_nobody_listens(board: SshServer) -> None:
    board.kill()
    with pytest.raises(UnreachableError, match="no ssh server listens there"):
        MeasuringProcess(parse_target(board.target()))


def test_a_name_that_does_not_resolve(board: SshServer) -> None:
    with pytest.raises(UnreachableError, match="the name is not known"):
        MeasuringProcess(parse_target(board.target(host="no-such-host.invalid")))


def test_no_python_under_that_name(board: SshServer) -> None:
    with pytest.raises(UnreachableError, match="no Python was found there"):
        MeasuringProcess(parse_target(board.target(python="/no/such/python3")))


def test_a_python_without_onnx_runtime(board: SshServer) -> None:
    bare = board.folder / "bare"
    base = os.path.realpath(board.account.python)
    subprocess.run([base, "-m", "venv", "--without-pip", str(bare)], check=True, capture_output=True)
    with pytest.raises(UnfitDeviceError, match="cannot import ONNX Runtime: No module named") as caught:
        MeasuringProcess(parse_target(board.target(python=str(bare / "bin" / "python"))))
    assert caught.value.exit_code == 4


def test_a_shell_never_sees_what_a_user_wrote(board: SshServer) -> None:
    words = parse_target(board.target()).argv("import os;x='a'")
    assert words[-1] == f"exec {board.account.python} -I -B -c 'import os;x='\"'\"'a'\"'\"''"
    assert words[words.index("--") + 1] == "127.0.0.1"


def old_python() -> str:
    for name in ("3.6", "3.7"):
        for found in (
            *map(str, Path.home().glob(f".pyenv/versions/{name}*/bin/python")),
            shutil.which(f"python{name}"),
        ):
            if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
                return found
    pytest.skip("no Python older than 3.8 on this machine")


def test_a_python_that_is_too_old() -> None:
    with pytest.raises(UnreachableError, match=r"Python 3\.[67]\.\d+ is too old, 3\.8 is needed.*install Python 3\.8"):
        MeasuringProcess(parse_target(f"exec:{old_python()} -I -c {{bootstrap}}"))


def test_the_interpreter_of_this_machine_is_found_by_its_path() -> None:
    assert sys.executable in parse_target("local").argv("")
