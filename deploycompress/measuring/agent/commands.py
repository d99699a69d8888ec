"""What can be asked of the agent."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from .kernels import kernel_times
from .latency import LatencyBench
from .machine import cpu_flags, describe_machine
from .memory import activation_peak, peak_rss

if TYPE_CHECKING:
    from collections.abc import Callable

    from .frames import Message


class Agent:
    """Answers requests, by the name of their command."""

    def __init__(self) -> None:
        self.commands: dict[str, Callable[[Message, list[bytes]], Message]] = {
            "hello": hello,
            "latency": LatencyBench().latency,
            "activation_peak": activation_peak,
            "peak_rss": peak_rss,
            "kernel_times": kernel_times,
        }

    def answer(self, request: Message, models: list[bytes]) -> Message:
        """Carry out one request.

        Args:
            request: with the name of its command; `models` in it are the digests of the models, in the same order.
            models: serialised models.
        """
        return self.commands[request["command"]](request, models)


def hello(_request: Message, _models: list[bytes]) -> Message:
    """Say what machine and runtime this is."""
    import onnxruntime

    return {
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "interpreter": sys.executable or "",
        "machine": describe_machine(),
        "cpu_flags": cpu_flags(),
        "providers": onnxruntime.get_available_providers(),
    }
