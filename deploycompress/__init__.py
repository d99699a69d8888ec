"""Shrink a trained network until it meets a device's measured limits, and ship it as ONNX.

The public names are imported when they are first used, so that `import deploycompress` costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploycompress.capturing.capture import capture
    from deploycompress.channels.records import ChannelGroup
    from deploycompress.channels.trace import channel_groups
    from deploycompress.constraint import Constraint
    from deploycompress.errors import DeployCompressError
    from deploycompress.graph import Graph
    from deploycompress.measuring.meter import measure
    from deploycompress.network.module import from_torch, to_torch
    from deploycompress.pipeline.result import Result
    from deploycompress.pipeline.run import compress
    from deploycompress.plan import Plan
    from deploycompress.profile import Profile, load_profile
    from deploycompress.surgery.masked import masked
    from deploycompress.surgery.slim import slim

__version__ = "0.1.0"

_HOMES: Mapping[str, str] = {
    "ChannelGroup": "channels.records",
    "Constraint": "constraint",
    "DeployCompressError": "errors",
    "Graph": "graph",
    "Plan": "plan",
    "Profile": "profile",
    "Result": "pipeline.result",
    "capture": "capturing.capture",
    "channel_groups": "channels.trace",
    "compress": "pipeline.run",
    "from_torch": "network.module",
    "load_profile": "profile",
    "masked": "surgery.masked",
    "measure": "measuring.meter",
    "slim": "surgery.slim",
    "to_torch": "network.module",
}

__all__ = [
    "ChannelGroup",
    "Constraint",
    "DeployCompressError",
    "Graph",
    "Plan",
    "Profile",
    "Result",
    "capture",
    "channel_groups",
    "compress",
    "from_torch",
    "load_profile",
    "masked",
    "measure",
    "slim",
    "to_torch",
]


def __getattr__(name: str) -> Any:  # Any: whatever the public name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'deploycompress' has no attribute {name!r}")
    return getattr(importlib.import_module(f"deploycompress.{_HOMES[name]}"), name)
