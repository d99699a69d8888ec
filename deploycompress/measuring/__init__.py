"""Measurement: an ONNX graph and a profile in, raw samples out; ONNX Runtime runs in a process of its own."""

from deploycompress.measuring.conditions import Conditions, Machine, MachineState
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter, measure

__all__ = [
    "Conditions",
    "FailedMeasurementError",
    "FailureKind",
    "Interval",
    "Machine",
    "MachineState",
    "Measurement",
    "Meter",
    "measure",
]
