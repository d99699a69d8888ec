"""Brings a network to half precision, with what would overflow there left in single precision."""

from __future__ import annotations

from collections.abc import Mapping

from deploycompress.graph import Graph
from deploycompress.pipeline.int8 import calibration_images
from deploycompress.pipeline.job import Job
from deploycompress.quantize.half import half
from deploycompress.quantize.overflow import overflowing


def in_fp16(job: Job, shipped: Graph) -> tuple[Graph, Mapping[str, str]]:
    """Write a network in its shipped form in half precision.

    Returns:
        The network, and the nodes whose numbers are too large for it, with why.
    """
    too_large = overflowing(shipped, calibration_images(job))
    return half(shipped, nodes=tuple(too_large)), too_large
