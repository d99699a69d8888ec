"""A running command with pipes: sends and receives bytes, waits no longer than told, and keeps its last words."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from typing import BinaryIO

from deploycompress.measuring.reach.bundle import BOOTSTRAP
from deploycompress.measuring.reach.failures import UnreachableError
from deploycompress.measuring.reach.target import Target

_PIECE = 1 << 20
_KEPT_MESSAGES = 1 << 13
_SECONDS_TO_END = 2.0


class Connection:
    """The command that reaches a device, in a process group of its own.

    Args:
        target: the device.

    Raises:
        UnreachableError: the command cannot be started.
    """

    def __init__(self, target: Target) -> None:
        argv = target.argv(BOOTSTRAP)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell, and words that were checked
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise UnreachableError(
                f"{argv[0]} cannot be started here ({error.strerror}); "
                f"install it, or name it by its path in {target.name!r}."
            ) from error
        self._requests, self._answers, messages = _pipes(self._process)
        os.set_blocking(self._requests.fileno(), False)  # a hung reader must not hang the writer
        self._last_messages = bytearray()
        self._listener = threading.Thread(target=self._keep_messages, args=(messages,), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Process number of the command on this machine."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    def send(self, parts: Iterable[bytes], deadline: float) -> None:
        """Write, until all is written or the other side speaks: it has no reason to before it has heard all.

        Raises:
            TimeoutError: the deadline (of `time.monotonic`) passed.
        """
        out, back = self._requests.fileno(), self._answers.fileno()
        for part in parts:
            view = memoryview(part)
            while view:
                readable, writable, _ = select.select([back], [out], [], _remaining(deadline))
                if readable:
                    return
                if writable:
                    try:
                        view = view[os.write(out, view[:_PIECE]) :]
                    except BrokenPipeError:
                        return  # why it ended is told by what it said

    def receive(self, count: int, deadline: float) -> bytes:
        """Read a number of bytes, fewer only when there will be no more.

        Raises:
            TimeoutError: the deadline (of `time.monotonic`) passed.
        """
        descriptor = self._answers.fileno()
        data = bytearray()
        while len(data) < count:
            readable, _, _ = select.select([descriptor], [], [], _remaining(deadline))
            if readable:
                piece = os.read(descriptor, min(count - len(data), _PIECE))
                if not piece:
                    break
                data += piece
        return bytes(data)

    def overhear(self, count: int, seconds: float) -> bytes:
        """Read what else is said within a moment."""
        data, deadline = b"", time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while len(data) < count and (piece := self.receive(1, deadline)):
                data += piece
        return data

    def ended(self) -> int | None:
        """Wait a moment for the command to end, and give its exit code; None when it does not."""
        try:
            code = self._process.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return None
        self._listener.join(_SECONDS_TO_END)
        return code

    def last_words(self) -> str:
        """Give the end of what was written to standard error."""
        return bytes(self._last_messages).decode(errors="replace")

    def kill(self) -> None:
        """End the command at once; whoever reads gets its end."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):  # it ended in between
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the agent end by itself, which takes its files with it, or else end the command; twice is fine."""
        if not self._requests.closed:
            self._requests.close()
        if self.is_alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_SECONDS_TO_END)
        self.kill()
        self._process.wait()
        self._answers.close()

    def _keep_messages(self, messages: BinaryIO) -> None:
        with messages:
            while piece := messages.read(_KEPT_MESSAGES):
                self._last_messages += piece
                del self._last_messages[:-_KEPT_MESSAGES]


def _pipes(process: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO, BinaryIO]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise UnreachableError("The measuring process has no pipes.")
    return process.stdin, process.stdout, process.stderr  # type: ignore[return-value]  # unbuffered ones are raw


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
