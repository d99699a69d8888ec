"""The device lock: two runs never measure at once, also when they come from different hosts or users.

Whoever measures holds the gate `device`. Who wants it next holds the gate `next` while waiting, so that a run which has
just measured cannot take the device again before the one that waited. The system opens both when the holder dies.

On Linux the gates are names in a network namespace. A container has its own unless it shares the host's, and so it has
a lock of its own: runs in two containers do not see each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "deploycompress-measuring"
# Set on a device for runs that do not disturb each other, such as on accelerators of their own.
NAME_VARIABLE = "DEPLOYCOMPRESS_LOCK"
_RETRY_SECONDS = 0.02
_WAITERS = 64


class BusyError(Exception):
    """Somebody else measured for as long as was to be waited; the text says who."""


class Gate(Protocol):
    """What only one process can be inside of."""

    def enter(self) -> bool:
        """Go in when nobody is there; otherwise say no."""

    def wait(self, seconds: float) -> str:
        """Wait until it may be free, or the time is over; say who is inside where that is known."""

    def leave(self) -> None:
        """Go out."""


class DeviceLock:
    """Held while a request measures.

    Args:
        device: gate of the device itself.
        turn: gate of the one that comes next.
    """

    def __init__(self, device: Gate, turn: Gate) -> None:
        self._device, self._turn = device, turn

    def acquire(self, seconds: float, on_wait: Callable[[str], None]) -> None:
        """Wait until the device is free.

        Args:
            seconds: longest wait.
            on_wait: told once, when there is a wait, who holds the device.

        Raises:
            BusyError: the time is over.
        """
        deadline = time.monotonic() + seconds
        told = False

        def pass_through(gate: Gate) -> None:
            nonlocal told
            while not gate.enter():
                holder = gate.wait(0)
                if not told:
                    told = True
                    on_wait(holder)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise BusyError(holder)
                gate.wait(remaining)

        pass_through(self._turn)
        try:
            pass_through(self._device)
        finally:
            self._turn.leave()

    def release(self) -> None:
        """Let the next one measure."""
        self._device.leave()


def device_lock(folder: str) -> DeviceLock:
    """Make the lock of this device.

    Args:
        folder: for lock files, on systems that need them.
    """
    part = "".join(letter for letter in os.environ.get(NAME_VARIABLE, "") if letter.isalnum() or letter in "-_")
    name = f"{NAME}-{part}" if part else NAME
    if sys.platform == "linux":
        return DeviceLock(SocketGate(name), SocketGate(f"{name}-next"))
    return DeviceLock(FileGate(Path(folder) / f"{name}.lock"), FileGate(Path(folder) / f"{name}-next.lock"))


class SocketGate:
    """A listening socket with a name outside the file system: Linux only, leaves nothing behind, and tells its holder.

    Who waits is connected to it and wakes up when it closes, without looking again and again while others measure.
    """

    def __init__(self, name: str) -> None:
        self._address = f"\0{name}"
        self._socket: socket.socket | None = None

    def enter(self) -> bool:
        """Take the name when it is free."""
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mine.bind(self._address)
            mine.listen(_WAITERS)
        except OSError as error:
            mine.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self._socket = mine
        return True

    def wait(self, seconds: float) -> str:
        """Stay connected until the holder closes."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as theirs:
            theirs.settimeout(max(seconds, _RETRY_SECONDS))
            try:
                theirs.connect(self._address)
                holder = _peer(theirs)
                if seconds > 0:
                    theirs.recv(1)
            except socket.timeout:  # noqa: UP041 - another class before Python 3.10
                return ""
            except OSError:  # not listening yet, or closed a moment ago
                time.sleep(min(_RETRY_SECONDS, seconds))
                return ""
        return holder

    def leave(self) -> None:
        """Give the name back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class FileGate:
    """A locked file; it stays where it is, for a lock on a file that is taken away would protect nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def enter(self) -> bool:
        """Lock the file when nobody has."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return False
        with contextlib.suppress(OSError):  # on a full disk nobody learns who holds it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    def _open(self) -> int:
        flags, path = os.O_CLOEXEC | os.O_NOFOLLOW, str(self._path)
        try:
            try:
                return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
            except PermissionError:  # another user's; what can only be read can be locked, too
                return os.open(path, flags | os.O_RDONLY)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):
                raise
            raise RefusedError(
                "device",
                f"The lock file {path} of the device cannot be opened ({error.strerror}); let all users read it, or "
                "take it away while nobody measures.",
            ) from error

    def wait(self, seconds: float) -> str:
        """Wait a moment."""
        time.sleep(min(_RETRY_SECONDS, seconds))
        try:
            holder = self._path.read_bytes()[:20].decode(errors="replace")
        except OSError:
            return ""
        return f"process {holder}" if holder.isdigit() else ""

    def leave(self) -> None:
        """Unlock the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _peer(connection: socket.socket) -> str:
    """Say who listens; the system knows even when nobody has accepted yet."""
    layout = struct.Struct("3i")
    pid, user, _ = layout.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return f"process {pid} of user {_user_name(user)}"


def _user_name(number: int) -> str:
    try:
        import pwd  # not every build of Python has it

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)
