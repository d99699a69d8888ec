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
    from deploycompress.network.pt2 import save_pt2
    from deploycompress.pipeline.bench import bench
    from deploycompress.pipeline.check import check
    from deploycompress.pipeline.compare import compare
    from deploycompress.pipeline.inspection import inspect
    from deploycompress.pipeline.result import Result
    from deploycompress.pipeline.run import compress, resume
    from deploycompress.plan import Plan
    from deploycompress.profile import Profile
    from deploycompress.profile_files import load_profile
    from deploycompress.surgery.blocks import Block, blocks
    from deploycompress.surgery.compose import compose
    from deploycompress.surgery.kernels import KernelChoice, kernel_choices, shrink_kernels
    from deploycompress.surgery.masked import masked
    from deploycompress.surgery.remove import remove_blocks
    from deploycompress.surgery.slim import slim

__version__ = "0.1.0"

_HOMES: Mapping[str, str] = {
    "Block": "surgery.blocks",
    "ChannelGroup": "channels.records",
    "Constraint": "constraint",
    "DeployCompressError": "errors",
    "Graph": "graph",
    "KernelChoice": "surgery.kernels",
    "Plan": "plan",
    "Profile": "profile",
    "Result": "pipeline.result",
    "bench": "pipeline.bench",
    "blocks": "surgery.blocks",
    "capture": "capturing.capture",
    "channel_groups": "channels.trace",
    "check": "pipeline.check",
    "compare": "pipeline.compare",
    "compose": "surgery.compose",
    "compress": "pipeline.run",
    "from_torch": "network.module",
    "inspect": "pipeline.inspection",
    "kernel_choices": "surgery.kernels",
    "load_profile": "profile_files",
    "masked": "surgery.masked",
    "measure": "measuring.meter",
    "remove_blocks": "surgery.remove",
    "resume": "pipeline.run",
    "save_pt2": "network.pt2",
    "shrink_kernels": "surgery.kernels",
    "slim": "surgery.slim",
    "to_torch": "network.module",
}

__all__ = [
    "Block",
    "ChannelGroup",
    "Constraint",
    "DeployCompressError",
    "Graph",
    "KernelChoice",
    "Plan",
    "Profile",
    "Result",
    "bench",
    "blocks",
    "capture",
    "channel_groups",
    "check",
    "compare",
    "compose",
    "compress",
    "from_torch",
    "inspect",
    "kernel_choices",
    "load_profile",
    "masked",
    "measure",
    "remove_blocks",
    "resume",
    "save_pt2",
    "shrink_kernels",
    "slim",
    "to_torch",
]


def __getattr__(name: str) -> Any:  # Any: whatever the public name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'deploycompress' has no attribute {name!r}")
    return getattr(importlib.import_module(f"deploycompress.{_HOMES[name]}"), name)
