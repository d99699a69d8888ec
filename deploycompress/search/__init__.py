"""Policies that propose plans and learn from evaluations; no ONNX, no clock, no files.

The table below is all there is to choose from; engines are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from deploycompress.errors import UsageError

ENGINES: Mapping[str, str] = {
    "rl-pruner": "deploycompress.search.rl_pruner",
}


def load_engine(name: str) -> ModuleType:
    """Import an engine: a module with `init`, `ask`, `tell`, `State` and its settings.

    Raises:
        UsageError: there is no such engine.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no search engine {name!r}; known are {', '.join(ENGINES)}.")
    return import_module(ENGINES[name])
