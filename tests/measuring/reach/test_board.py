"""One board: its processes are of one machine, and who gives it up while it starts gets it ended."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from deploycompress.measuring import Meter
from deploycompress.measuring.reach.board import Board
from deploycompress.measuring.reach.failures import UnfitDeviceError, UnreachableError
from deploycompress.measuring.reach.target import parse_target
from deploycompress.profile import Profile
from tests.measuring.networks import conv_net


def changing_target(folder: Path) -> str:
    """Give a target of which every process but the first has another ONNX Runtime."""
    script, mark = folder / "changing.py", folder / "started"
    script.write_text(
        "import pathlib, sys, onnxruntime\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "if mark.exists():\n"
        "    onnxruntime.__version__ = '1.99.0'\n"
        "mark.touch()\n"
        "program = sys.argv[1]\n"
        "exec(program)\n"
    )
    return f"exec:{sys.executable} -I {script} {{bootstrap}}"


@pytest.mark.parametrize("is_running", [True, False])
def test_fresh_processes_of_different_machines_are_not_put_together(
    profile: Profile, tmp_path: Path, is_running: bool
) -> None:
    with Meter(profile, target=parse_target(changing_target(tmp_path))) as meter:
        if is_running:
            meter.measure(conv_net(), max_seconds=0)
        with pytest.raises(UnfitDeviceError, match=r"not one machine.*onnxruntime '1.99.0' after ") as caught:
            meter.measure(conv_net(), max_seconds=0, starts=2)
    assert caught.value.exit_code == 4


def test_a_board_given_up_while_it_starts_is_ended(profile: Profile) -> None:
    slow = f"exec:sh -c 'sleep 1.5; exec {sys.executable} -I -c {{bootstrap_quoted}}'"
    board = Board(profile, parse_target(slow))
    errors: list[UnreachableError] = []

    def start() -> None:
        try:
            _ = board.about
        except UnreachableError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    time.sleep(0.5)
    board.give_up()
    thread.join()
    assert "was given up" in str(errors[0])
    assert board.pid is None
