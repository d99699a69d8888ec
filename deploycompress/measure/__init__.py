"""Measurement: an ONNX graph and a profile in, raw samples out; ONNX Runtime runs in a process of its own."""

from deploycompress.measure.failure import FailedMeasurementError, FailureKind
from deploycompress.measure.interval import Interval
from deploycompress.measure.measurement import Conditions, Machine, Measurement
from deploycompress.measure.meter import Meter, measure

__all__ = [
    "Conditions",
    "FailedMeasurementError",
    "FailureKind",
    "Interval",
    "Machine",
    "Measurement",
    "Meter",
    "measure",
]
