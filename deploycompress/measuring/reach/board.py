"""One device to measure at: an agent started when needed, replaced when it died, and asked again after a crash."""

from __future__ import annotations

from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.process import BUSY_SECONDS, MeasuringProcess, SentModel
from deploycompress.measuring.reach.failures import UnfitDeviceError, UnreachableError
from deploycompress.measuring.reach.target import LOCAL, Target
from deploycompress.profile import Profile


class Board:
    """A device, asked by one thread at a time.

    A crash is tried once more in a fresh process before the model is blamed for it: the connection may have been cut,
    or the system may have been out of memory for another's sake.

    All its processes must tell of one machine and one ONNX Runtime: behind one name can stand several machines.

    Args:
        profile: what runtime it must have.
        target: where it is.
        memory_limit_bytes: address space of a measuring process; None for no limit.
        busy_seconds: how long to wait while somebody else measures there.
    """

    def __init__(
        self,
        profile: Profile,
        target: Target = LOCAL,
        *,
        memory_limit_bytes: int | None = None,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.target = target
        self._profile = profile
        self._memory_limit_bytes = memory_limit_bytes
        self._busy_seconds = busy_seconds
        self._process: MeasuringProcess | None = None
        self._is_given_up = False
        self._identity: Message = {}

    @property
    def pid(self) -> int | None:
        """Process number, on this machine, of what is asked; None while nothing runs."""
        return self._process.pid if self._process and self._process.is_alive else None

    @property
    def about(self) -> Message:
        """What the device says of itself; starts the agent when none runs.

        Raises:
            MeasureError: the device cannot be reached, or has no fitting ONNX Runtime.
        """
        return self._running_process().about

    def ask(self, request: Message, *models: SentModel | bytes, timeout_seconds: float) -> Message:
        """Ask the running agent, or a new one.

        Args:
            request: with the name of its command.
            models: what it is about, in the order the command expects.
            timeout_seconds: for the answer, once the device is free and the models are there.

        Raises:
            FailedMeasurementError: a model could not be measured; a crash happened twice.
            MeasureError: the device cannot be reached, is busy, or cannot do what the profile asks.
        """
        try:
            return self._ask(request, models, timeout_seconds)
        except FailedMeasurementError as error:
            if error.kind is not FailureKind.CRASH:
                raise
        return self._ask(request, models, timeout_seconds)

    def ask_fresh(self, request: Message, *models: SentModel | bytes, timeout_seconds: float) -> Message:
        """Ask an agent that has done nothing before, and end it; the running one stays.

        Raises:
            FailedMeasurementError: a model could not be measured; a crash happened twice.
            MeasureError: the device cannot be reached, is busy, or cannot do what the profile asks.
        """
        other = Board(
            self._profile, self.target, memory_limit_bytes=self._memory_limit_bytes, busy_seconds=self._busy_seconds
        )
        other._identity = self._identity
        try:
            return other.ask(request, *models, timeout_seconds=timeout_seconds)
        finally:
            self._identity = other._identity
            other.close()

    def renew(self) -> None:
        """End the agent; the next question starts a fresh one."""
        if self._process is not None:
            self._process.close()
        self._process = None

    close = renew

    def give_up(self) -> None:
        """End the agent for good, from any thread: whoever waits for it gets an error and asks nothing more."""
        self._is_given_up = True
        process = self._process
        if process is not None:
            process.kill()

    def _ask(self, request: Message, models: tuple[SentModel | bytes, ...], timeout_seconds: float) -> Message:
        process = self._running_process()
        try:
            return process.ask(request, *models, timeout_seconds=timeout_seconds)
        except FailedMeasurementError as error:
            if not process.is_alive or error.kind is FailureKind.MEMORY:
                self.renew()  # what a process that ran out of memory says next is not to be trusted
            if error.kind is FailureKind.HANG and not self.target.is_local:
                self._running_process()  # a device that is gone does not answer either, and no model is to blame for it
            raise
        except KeyboardInterrupt:
            self.renew()  # the answer that is still to come must not be taken for the next one's
            raise

    def _running_process(self) -> MeasuringProcess:
        if self._process is None or not self._process.is_alive:
            self.renew()
            self._process = self._new_process()
        if self._is_given_up:  # while it started, when there was nothing to end yet
            self.renew()
            raise self._given_up()
        return self._process

    def _new_process(self) -> MeasuringProcess:
        if self._is_given_up:
            raise self._given_up()
        process = MeasuringProcess(
            self.target, memory_limit_bytes=self._memory_limit_bytes, busy_seconds=self._busy_seconds
        )
        needed, found = self._profile.runtime.min_onnxruntime, process.about["onnxruntime"]
        if _version(found) < _version(needed):
            process.close()
            where = "" if self.target.is_local else f" on {self.target.name}"
            raise UnfitDeviceError(
                f"ONNX Runtime{where} is {found}, profile {self._profile.name!r} needs {needed}; upgrade it."
            )
        try:
            self._require_same_machine(process.about)
        except UnfitDeviceError:
            process.close()
            raise
        return process

    def _require_same_machine(self, about: Message) -> None:
        found = {"onnxruntime": about["onnxruntime"], **about["machine"]}
        self._identity = self._identity or found
        changed = [name for name, value in found.items() if self._identity.get(name) != value]
        if changed:
            words = ", ".join(f"{name} {found[name]!r} after {self._identity.get(name)!r}" for name in changed)
            advice = (
                "if that is a new container for each process, show it the host's /etc/machine-id"
                if changed == ["id"]
                else "name one machine, and leave it as it is while it measures"
            )
            raise UnfitDeviceError(
                f"{self.target.name} is not one machine in one state: a new process tells of {words}; {advice}."
            )

    def _given_up(self) -> UnreachableError:
        return UnreachableError(f"{self.target.name} was given up: measuring ended.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
