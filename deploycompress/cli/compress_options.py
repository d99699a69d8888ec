"""The options of `compress` as a record, for the command and for the checks before it."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict


class CompressOptions(TypedDict):
    """What click hands over, by parameter name."""

    model: tuple[str, ...]
    profile: str
    data: str | None
    test_data: str | None
    normalize: str | None
    metric: str | None
    precision: str | None
    constraints: tuple[str, ...]
    search: str
    policy: Path | None
    settings: tuple[str, ...]
    budget: float | None
    evaluations: int | None
    epochs: int | None
    input_shape: tuple[int, ...] | None
    targets: tuple[str, ...]
    arch: str | None
    trust: bool
    allow: tuple[str, ...]
    out: Path | None
    force: bool
    seed: int
    as_json: bool
    quiet: bool
    verbose: bool
    dry_run: bool
