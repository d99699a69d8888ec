"""The agent's loop: reads framed requests from standard input and writes framed answers to standard output.

It ends when its input ends, when nobody asks for long, and when a request takes longer than the host said; what it
wrote to the disk goes with it.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import queue
import resource
import shutil
import site
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from .commands import Agent
from .frames import TO_AGENT, FrameError, frame_parts, read_frame
from .lock import BusyError, device_lock
from .models import ModelStore, memory_for_models
from .options import require_harmless
from .refusal import RefusedError, refusal_of
from .workplace import open_workplace

if TYPE_CHECKING:
    from .frames import Message
    from .lock import DeviceLock

    Inbox = queue.Queue[tuple[Message, list[bytes]]]

IDLE_SECONDS = 6 * 3600.0  # a search trains between measurements; who comes back later starts a new agent
LEAST_FREE_BYTES = 2**20
DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
# What these measure must not hold the model's bytes twice.
FORGETTING = frozenset({"peak_rss"})
ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}


class Outbox:
    """Answers on their way to the host.

    Args:
        stream: where to.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> None:
        """Send a message; bytes listed under `attached` follow it as blobs."""
        attached = message.pop("attached", [])
        for part in frame_parts(message, attached):
            self._stream.write(part)
        self._stream.flush()


class Desk(NamedTuple):
    """What requests are worked on with."""

    agent: Agent
    models: ModelStore
    lock: DeviceLock
    outbox: Outbox


def main(stream: BinaryIO, search_path: list[str]) -> None:
    """Serve on standard output; whatever native code prints goes to standard error instead.

    Args:
        stream: standard input, behind what started the agent.
        search_path: where else modules are found.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    os.environ.update(ENVIRONMENT)  # ONNX Runtime and OpenMP read it while they are imported
    lock = device_lock(_temporary_folder())
    tempfile.tempdir = open_workplace(answers.fileno())
    os.chdir(tempfile.tempdir or "/")  # whatever native code writes beside itself goes, too
    _find_modules(search_path)
    inbox: Inbox = queue.Queue()
    threading.Thread(target=_receive, args=(stream, inbox), daemon=True).start()
    outbox = Outbox(answers)
    try:
        refusals = _refusals()
    except (ImportError, AttributeError, OSError) as error:  # what broken or ill-matched packages raise
        inbox.get(timeout=IDLE_SECONDS)
        outbox.send(_refusal_of_import(error))
        return
    serve(inbox, Desk(Agent(), ModelStore(memory_for_models()), lock, outbox), refusals)


def serve(inbox: Inbox, desk: Desk, refusals: tuple[type[Exception], ...]) -> None:
    """Answer requests until none comes."""
    while True:
        try:
            request, blobs = inbox.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return
        if request.get("memory_limit_bytes"):
            resource.setrlimit(resource.RLIMIT_AS, (request["memory_limit_bytes"],) * 2)
        try:
            reply = _reply(request, blobs, desk)
        except BusyError as error:
            reply = {"refused": "busy", "sentence": str(error)}
        except refusals as error:
            reply = _refusal(error)
        desk.outbox.send(reply)


def _reply(request: Message, blobs: list[bytes], desk: Desk) -> Message:
    require_harmless(request)
    wanted = request["models"]
    desk.models.put(request["sent"], blobs)
    blobs.clear()
    missing = desk.models.missing(wanted)
    if missing:
        return {"missing": missing}
    models = desk.models.take(wanted)
    gone = desk.models.forget(wanted) if request["command"] in FORGETTING else desk.models.evict(wanted)
    with _measuring(request, desk):
        reply = desk.agent.answer(request, models)
    return {**reply, "evicted": gone}


@contextlib.contextmanager
def _measuring(request: Message, desk: Desk) -> Any:  # Any: a generator that contextlib wraps
    """Hold the device; should the host be gone when a model hangs in native code, end this process."""
    if request["command"] == "hello":
        yield
        return

    def tell(holder: str) -> None:
        desk.outbox.send({"progress": "waiting", "holder": holder})

    desk.lock.acquire(request["busy_seconds"], tell)
    faulthandler.dump_traceback_later(request["lifetime_seconds"], exit=True)
    try:
        desk.outbox.send({"progress": "measuring"})
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        desk.lock.release()


def _receive(stream: BinaryIO, inbox: Inbox) -> None:
    """Take requests in while the main thread measures: so the end of the host is seen at once."""
    try:
        while True:
            inbox.put(read_frame(stream.read, TO_AGENT))
    except EOFError:
        os._exit(0)
    except (FrameError, OSError, MemoryError) as error:
        os.write(2, f"The request cannot be read: {type(error).__name__}: {error}.".encode())
        os._exit(2)


def _find_modules(search_path: list[str]) -> None:
    """Add the host's folders and the user's own site-packages, which an isolated interpreter leaves out."""
    sys.path += [entry for entry in search_path if entry not in sys.path]
    mine = site.getusersitepackages()
    if mine not in sys.path and os.path.isdir(mine):  # noqa: PTH112 - a text of the interpreter's
        site.addsitedir(mine)


def _refusals() -> tuple[type[Exception], ...]:
    """Give what ONNX Runtime raises, and what a model or a full disk can cause."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    raised: list[type[Exception]] = [RefusedError, MemoryError, RuntimeError, ValueError, OSError]
    raised += [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return tuple(raised)


def _refusal(error: Exception) -> Message:
    if isinstance(error, RefusedError):
        return refusal_of(error)
    if not _is_disk_trouble(error):
        return _refusal_of_system(error) if isinstance(error, OSError) else refusal_of(error)
    folder = _temporary_folder()
    return {
        "refused": "device",
        "sentence": f"The device cannot keep temporary files ({' '.join(str(error).split())[:200]}): "
        f"{_free_bytes(folder) // 2**20} MiB are free in {folder}; make room there, or set TMPDIR for the account.",
    }


def _refusal_of_system(error: OSError) -> Message:
    detail = " ".join(str(error).split())[:300]
    return {"refused": "device", "sentence": f"The device's system does not let the agent work: {detail}."}


def _is_disk_trouble(error: Exception) -> bool:
    if "No space left" in str(error) or (isinstance(error, OSError) and error.errno in DISK_TROUBLE):
        return True
    return _free_bytes(_temporary_folder()) < LEAST_FREE_BYTES


def _temporary_folder() -> str:
    return tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - only looked at, or locked


def _free_bytes(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _refusal_of_import(error: Exception) -> Message:
    detail = " ".join(str(error).split())[:300]
    version = ".".join(map(str, sys.version_info[:3]))
    return {
        "refused": "runtime",
        "sentence": f"Python {version} there ({sys.executable}) cannot import ONNX Runtime: {detail}. Install it for "
        "that Python (python3 -m pip install onnxruntime), or name the Python that has it: ssh://...?python=/path/to/python.",
    }
