"""A measuring process: the agent on a device, asked over a connection; says how it died when it did."""

from __future__ import annotations

import hashlib
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploycompress.errors import MeasureError
from deploycompress.measuring.agent.frames import TO_HOST, CutShortError, FrameError, Message, frame_parts, read_frame
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.reach.bundle import bundle
from deploycompress.measuring.reach.connection import Connection
from deploycompress.measuring.reach.diagnosis import chatter, rejection_advice, start_failure, way_of_ending
from deploycompress.measuring.reach.failures import BusyDeviceError, UnfitDeviceError, UnsoundReplyError
from deploycompress.measuring.reach.target import LOCAL, Target
from deploycompress.measuring.reach.words import shown
from deploycompress.measuring.replies import check_reply

BUSY_SECONDS = 600.0

_START_SECONDS = 120.0
_GRACE_AFTER_HOST_SECONDS = 30.0
_SLOWEST_BYTES_PER_SECOND = 2**17
_UNFIT = frozenset({"missing_provider", "runtime", "device"})
_ASKED_WRONGLY = frozenset({"provider", "option"})
_MOST_PROGRESS = 2


class SentModel(Protocol):
    """A serialised model and its SHA-256."""

    @property
    def data(self) -> bytes:
        """The serialised model."""

    @property
    def digest(self) -> str:
        """SHA-256 of the data, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class _PlainModel:
    data: bytes
    digest: str


class MeasuringProcess:
    """An agent and the way to it; after any failure it is gone and a new one must be made.

    Args:
        target: the device it runs on.
        memory_limit_bytes: address space it may use; None for no limit.
        busy_seconds: how long to wait while somebody else measures there.

    Raises:
        UnreachableError: the agent cannot be started there.
        UnfitDeviceError: ONNX Runtime is missing there, or Python cannot import it.
        UnsoundReplyError: what answers is not the agent, or says of itself what cannot be.
    """

    def __init__(
        self, target: Target = LOCAL, *, memory_limit_bytes: int | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.target = target
        self._memory_limit_bytes = memory_limit_bytes
        self._busy_seconds = busy_seconds
        self._known: set[str] = set()
        self._connection = Connection(target)
        search_path = [str(Path(entry).resolve()) for entry in sys.path if entry] if target.is_local else []
        try:
            self._connection.send([bundle(search_path)], time.monotonic() + _START_SECONDS)
            self.about = self._ask({"command": "hello"}, (), _START_SECONDS)
        except (TimeoutError, EOFError, CutShortError) as error:
            code = self._connection.ended()
            words = self._connection.last_words()
            self.close()
            raise start_failure(target, code, words) from error
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process number, on this machine, of the agent or of the command that reaches it."""
        return self._connection.pid

    @property
    def is_alive(self) -> bool:
        """Whether the agent can be asked."""
        return self._connection.is_alive

    def ask(self, request: Message, *models: SentModel | bytes, timeout_seconds: float) -> Message:
        """Send one request and wait for its answer, which is checked.

        Args:
            request: with the name of its command.
            models: what it is about; the agent is sent those it does not have yet.
            timeout_seconds: for the answer, once the device is free and the models are there.

        Raises:
            FailedMeasurementError: the agent refused a model, crashed, hung, or ran out of memory.
            BusyDeviceError: somebody else measures there.
            UnsoundReplyError: the answer cannot be true, or is no answer.
            MeasureError: the device cannot do what the profile asks.
        """
        try:
            return self._ask(request, tuple(map(_sent, models)), timeout_seconds)
        except TimeoutError as error:
            self.close()
            sentence = f"The measuring process gave no answer within {timeout_seconds:.0f} s and was ended."
            raise FailedMeasurementError(FailureKind.HANG, sentence) from error
        except (EOFError, CutShortError) as error:
            raise self._explain_end() from error

    def kill(self) -> None:
        """End the agent at once, from any thread; `close` is still to be called."""
        self._connection.kill()

    def close(self) -> None:
        """End the agent and whatever it started; closing twice is fine."""
        self._connection.close()

    def _ask(self, request: Message, models: tuple[SentModel, ...], timeout_seconds: float) -> Message:
        envelope = {
            **request,
            "models": [model.digest for model in models],
            "memory_limit_bytes": self._memory_limit_bytes,
            "busy_seconds": self._busy_seconds,
            "lifetime_seconds": timeout_seconds + _GRACE_AFTER_HOST_SECONDS,
        }
        begin = time.monotonic()
        try:
            reply = self._exchange(envelope, self._unknown(models), timeout_seconds)
            if "missing" in reply:
                reply = self._exchange(envelope, self._missing(reply, models), timeout_seconds)
                if "missing" in reply:
                    raise FrameError("it asks for models again and again")
        except FrameError as error:
            if isinstance(error, CutShortError):
                raise
            raise self._unsound(error) from error
        if "refused" in reply:
            raise self._refusal(reply)
        self._remember(reply, models)
        try:
            check_reply(request, reply, elapsed_seconds=time.monotonic() - begin)
        except UnsoundReplyError as error:
            self.close()
            raise UnsoundReplyError(f"{self.target.name} answered what cannot be: {error}") from error
        return reply

    def _exchange(self, envelope: Message, sent: list[SentModel], timeout_seconds: float) -> Message:
        blobs = [model.data for model in sent]
        carrying = sum(map(len, blobs)) / _SLOWEST_BYTES_PER_SECOND
        deadline = time.monotonic() + timeout_seconds + carrying
        self._connection.send(frame_parts({**envelope, "sent": [model.digest for model in sent]}, blobs), deadline)
        for _ in range(_MOST_PROGRESS + 1):
            reply, attached = read_frame(lambda count: self._connection.receive(count, deadline), TO_HOST)  # noqa: B023
            match reply.get("progress"):
                case None:
                    return {**reply, "attached": attached} if attached else reply
                case "waiting":
                    deadline = time.monotonic() + self._busy_seconds + timeout_seconds
                case _:
                    deadline = time.monotonic() + timeout_seconds
        raise FrameError("it tells of its progress again and again")

    def _unknown(self, models: tuple[SentModel, ...]) -> list[SentModel]:
        return list({model.digest: model for model in models if model.digest not in self._known}.values())

    def _missing(self, reply: Message, models: tuple[SentModel, ...]) -> list[SentModel]:
        missing = reply["missing"]
        named = {model.digest for model in models}
        if not isinstance(missing, list) or not missing or not all(digest in named for digest in map(str, missing)):
            raise FrameError("it misses models that were not named")
        self._known.difference_update(map(str, missing))
        return self._unknown(models)

    def _remember(self, reply: Message, models: tuple[SentModel, ...]) -> None:
        told = reply.pop("evicted", [])
        evicted = [entry for entry in told if isinstance(entry, str)] if isinstance(told, list) else []
        self._known.update(model.digest for model in models)
        self._known.difference_update(evicted)

    def _refusal(self, reply: Message) -> MeasureError:
        kind, sentence = str(reply["refused"]), shown(str(reply.get("sentence", "")), 1500)
        where = "" if self.target.is_local else f"{self.target.name}: "
        if kind == "busy":
            holder = sentence or "somebody else"
            return BusyDeviceError(
                f"{where}The device was measured on for {self._busy_seconds:g} s by {holder}; wait for that to end, "
                "or end it."
            )
        if kind in _UNFIT:
            return UnfitDeviceError(f"{where}{sentence}")
        if kind in _ASKED_WRONGLY:
            return MeasureError(f"{where}{sentence}")
        if kind in set(FailureKind):
            if kind == FailureKind.REJECTED:
                sentence = rejection_advice(str(self.about["onnxruntime"]), sentence)
            return FailedMeasurementError(FailureKind(kind), sentence)
        self.close()
        return UnsoundReplyError(f"{self.target.name}: {sentence or f'refused with {kind!r}, which is unknown.'}")

    def _unsound(self, error: FrameError) -> UnsoundReplyError:
        if error.seen:
            seen = error.seen + self._connection.overhear(200, 0.5)
            sentence = chatter(self.target, seen)
        else:
            sentence = f"{self.target.name} sent what is no frame: {error}; is it the agent that answers?"
        self.close()
        return UnsoundReplyError(sentence)

    def _explain_end(self) -> FailedMeasurementError:
        code = self._connection.ended()
        last_words = shown(self._connection.last_words())
        self.close()
        if "MemoryError" in last_words or "bad_alloc" in last_words:
            return FailedMeasurementError(FailureKind.MEMORY, "The measuring process ran out of memory and ended.")
        ended = "closed its connection without an answer" if code is None else way_of_ending(code)
        hint = "; the system may have been out of memory" if code == -signal.SIGKILL else ""
        tail = f" Its last words: {last_words}" if last_words else ""
        where = "" if self.target.is_local else f" on {self.target.name}"
        return FailedMeasurementError(FailureKind.CRASH, f"The measuring process{where} {ended}{hint}.{tail}")


def _sent(model: SentModel | bytes) -> SentModel:
    if isinstance(model, bytes):
        return _PlainModel(model, hashlib.sha256(model).hexdigest())
    return model
