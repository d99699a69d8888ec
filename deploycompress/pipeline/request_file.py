"""A request as it is written into the output folder, so that an interrupted run can be gone on with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploycompress.errors import UsageError
from deploycompress.pipeline.checkpoint import read_run
from deploycompress.pipeline.job import Request

_PLAIN = (
    "normalize",
    "metric",
    "precision",
    "search",
    "budget",
    "evaluations",
    "epochs",
    "arch",
    "trust",
    "seed",
    "images",
    "settled",
)
_LISTS = ("constraints", "settings", "input_shape", "targets", "allow")


def describe_request(request: Request) -> dict[str, Any] | None:
    """Write a request as JSON has it; none for one that a file cannot hold, such as of a network in memory."""
    if not all(_is_text(value) for value in (request.source, request.profile)):
        return None
    return {
        "source": str(Path(os.fspath(request.source)).absolute()),  # type: ignore[arg-type]  # checked above
        "profile": os.fspath(request.profile),  # type: ignore[arg-type]
        "data": _data(request.data),
        "test_data": _data(request.test_data),
        "policy": None if request.policy is None else str(Path(request.policy).absolute()),
        **{name: getattr(request, name) for name in _PLAIN},
        **{name: None if (value := getattr(request, name)) is None else list(value) for name in _LISTS},
    }


def read_request(folder: Path, *, trust: bool) -> Request:
    """Read the request of the run in a folder.

    Args:
        folder: of the run.
        trust: load code that the run names.

    Raises:
        UsageError: the folder holds no unfinished run, it cannot be read, or it names code and that is not trusted.
    """
    run = read_run(folder)
    named = [f"{name} {run[name]!r}" for name in ("arch", "metric", "trust", "allow") if run.get(name)]
    named += [f"target {target!r}" for target in run.get("targets") or () if _runs_code_here(str(target))]
    named += [f"{name} {run[name]!r}" for name in ("data", "test_data") if _names_code(run.get(name))]
    if named and not trust:
        raise UsageError(f"The run in {str(folder)!r} loads code: {', '.join(named)}. If you trust it, add --trust.")
    try:
        names = ("source", "profile", "data", "test_data", "policy", *_PLAIN)
        found: dict[str, Any] = {name: run[name] for name in names}  # Any: checked by those who use it
        found |= {name: None if run[name] is None else tuple(run[name]) for name in _LISTS}
        return Request(**found, progress=None)
    except (KeyError, TypeError) as error:
        raise UsageError(f"The run in {str(folder)!r} lacks {error}; start it anew.") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _data(spec: str | Sequence[str] | None) -> str | list[str] | None:
    return spec if spec is None or isinstance(spec, str) else list(spec)


def _runs_code_here(target: str) -> bool:
    """Say whether reaching a target may run a command on this machine: one of its own, or of an ssh configuration."""
    return target.startswith("exec:") or "?" in target


def _names_code(spec: object) -> bool:
    """Say whether a data spec may be a factory: anything with a colon that is not torchvision's."""
    places = [spec] if isinstance(spec, str) else list(spec) if isinstance(spec, list) else []
    return any(":" in str(place) and not str(place).startswith("torchvision:") for place in places)
