"""A measuring process: starts it, asks it, waits no longer than told, and says how it died."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploycompress.errors import MeasureError
from deploycompress.measuring import child
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind

_START_SECONDS = 120.0
_GRACE_AFTER_PARENT_SECONDS = 30.0
_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}


class MeasuringProcess:
    """A child process in its own process group; after any failure it is gone and a new one must be made.

    Args:
        memory_limit_bytes: address space the child may use; None for no limit.
    """

    def __init__(self, *, memory_limit_bytes: int | None = None) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        search_path = [str(Path(entry).resolve()) for entry in sys.path if entry]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-I", child.__file__, json.dumps(search_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise MeasureError("The measuring process has no pipes.")
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._requests.fileno(), False)  # a hung reader must not hang the writer
        try:
            self.about = self.ask({"command": "hello"}, timeout_seconds=_START_SECONDS)
        except FailedMeasurementError as error:
            self.close()
            raise MeasureError(f"The measuring process does not start: {error}") from error

    @property
    def pid(self) -> int:
        """Process number of the child."""
        return self._process.pid

    def ask(self, request: child.Message, *blobs: bytes, timeout_seconds: float) -> child.Message:
        """Send one request and wait for its answer.

        Raises:
            FailedMeasurementError: the child refused the model, crashed, hung, or ran out of memory.
            MeasureError: the profile's execution provider is not available.
        """
        deadline = time.monotonic() + timeout_seconds
        envelope = {
            **request,
            "memory_limit_bytes": self._memory_limit_bytes,
            "lifetime_seconds": timeout_seconds + _GRACE_AFTER_PARENT_SECONDS,
        }
        try:
            self._send(child.encode_frame(envelope, blobs), deadline)
            reply, _ = child.decode_frame(lambda count: self._receive(count, deadline))
        except TimeoutError as error:
            self.close()
            sentence = f"The measuring process gave no answer within {timeout_seconds:.0f} s and was ended."
            raise FailedMeasurementError(FailureKind.HANG, sentence) from error
        except (EOFError, BrokenPipeError, ValueError) as error:
            raise self._explain_end() from error
        if "refused" not in reply:
            return reply
        if reply["refused"] == "provider":
            raise MeasureError(reply["sentence"])
        raise FailedMeasurementError(FailureKind(reply["refused"]), reply["sentence"])

    def close(self) -> None:
        """End the child and whatever it started; closing twice is fine."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._requests, self._answers, self._messages):
            stream.close()

    @property
    def is_alive(self) -> bool:
        """Whether the child can be asked."""
        return self._process.poll() is None

    def _send(self, data: bytes, deadline: float) -> None:
        descriptor = self._requests.fileno()
        view = memoryview(data)
        while view:
            _, writable, _ = select.select([], [descriptor], [], _remaining(deadline))
            if writable:
                view = view[os.write(descriptor, view[: 1 << 20]) :]

    def _receive(self, count: int, deadline: float) -> bytes:
        descriptor = self._answers.fileno()
        data = bytearray()
        while len(data) < count:
            readable, _, _ = select.select([descriptor], [], [], _remaining(deadline))
            if readable:
                piece = os.read(descriptor, min(count - len(data), 1 << 20))
                if not piece:
                    raise EOFError
                data += piece
        return bytes(data)

    def _explain_end(self) -> FailedMeasurementError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        last_words = self._last_words()
        self.close()
        if "MemoryError" in last_words or "bad_alloc" in last_words:
            return FailedMeasurementError(FailureKind.MEMORY, "The measuring process ran out of memory and ended.")
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        hint = "; the system may have been out of memory" if code == -signal.SIGKILL else ""
        tail = f" Its last words: {last_words}" if last_words else ""
        return FailedMeasurementError(FailureKind.CRASH, f"The measuring process {ended}{hint}.{tail}")

    def _last_words(self) -> str:
        size = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, size - 400))
        return " ".join(self._messages.read().decode(errors="replace").split())


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
