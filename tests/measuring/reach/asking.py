"""Questions to an agent as the meter asks them, without the meter."""

from __future__ import annotations

from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.board import Board

SETUP: Message = {
    "providers": ["CPUExecutionProvider"],
    "provider_options": {},
    "threads": 1,
    "graph_optimization": "all",
    "session": {},
    "batch_axes": ["N"],
    "seed": 0,
}


def activation_peak(asked: Board | MeasuringProcess, model: bytes, *, timeout_seconds: float = 60.0) -> int:
    """Ask for the peak of a model's activations: the shortest question that runs a model."""
    request = {"command": "activation_peak", "setup": SETUP}
    return int(asked.ask(request, model, timeout_seconds=timeout_seconds)["bytes"])
