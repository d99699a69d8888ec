"""The arithmetic that a network ships in."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Element type of the layers with weights; where one cannot have it, the layer stays in single precision."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
