"""Policies that propose candidates and learn from evaluations; no ONNX, no clock, no files but a policy's own.

The table below is all there is to choose from; engines are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from deploycompress.errors import UsageError
from deploycompress.search.engine import Engine

ENGINES: Mapping[str, str] = {
    "joint": "deploycompress.search.joint",
    "n2n": "deploycompress.search.n2n",
    "rl-pruner": "deploycompress.search.rl_pruner",
    "random": "deploycompress.search.baselines.random",
    "uniform": "deploycompress.search.baselines.uniform",
    "greedy": "deploycompress.search.baselines.greedy",
    "evolution": "deploycompress.search.baselines.evolution",
}


def load_engine(name: str) -> Engine[Any]:  # Any: each engine has its own state
    """Import an engine: a module with `init`, `ask`, `tell`, `restore`, and its `Settings`.

    Raises:
        UsageError: there is no such engine.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no search engine {name!r}; known are {', '.join(ENGINES)}.")
    return cast(Engine[Any], import_module(ENGINES[name]))


def load_settings(name: str) -> type[Any]:  # Any: likewise
    """Import the record of an engine's settings.

    Raises:
        UsageError: there is no such engine.
    """
    return cast(type[Any], load_engine(name).Settings)  # type: ignore[attr-defined]  # a protocol cannot hold a class
