"""A folder for temporary files that goes when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile


def open_workplace(answers: int) -> str | None:
    """Make a folder and a small process that takes it away when this one is no more.

    Killed processes, crashes in native code and cut connections run no handlers, so somebody else must tidy up. Call
    it while there is one thread only.

    Args:
        answers: descriptor of the connection to the host, which must end with this process.

    Returns:
        The folder; None where none can be made, on a full disk for instance.
    """
    try:
        folder = tempfile.mkdtemp(prefix="deploycompress-agent-")
    except OSError:
        return None
    ends, held = os.pipe()
    if os.fork() == 0:
        os.close(held)
        os.close(answers)
        _tidy_up_after(ends, folder)
    os.close(ends)  # the other end stays open until this process is no more
    return folder


def _tidy_up_after(ends: int, folder: str) -> None:
    try:
        os.setsid()  # what ends the agent's group must not end this
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # a connection stays open as long as somebody has these
            os.dup2(nothing, standard)
        with contextlib.suppress(OSError):
            os.read(ends, 1)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)
