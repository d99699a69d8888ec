"""Policies that come from one run and go into another: read before the search, written after it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from deploycompress.errors import UsageError
from deploycompress.pipeline.settings import Settings
from deploycompress.search import load_engine

POLICY_FILE = "policy.safetensors"


def with_policy(settings: Settings, engine: str, path: str | os.PathLike[str] | None) -> Settings:
    """Let a search start from the policy in a file.

    Raises:
        UsageError: the engine has no policy that could be given, or the file holds none that fits.
    """
    if path is None:
        return settings
    if "policies" not in {entry.name for entry in fields(settings.search)}:
        raise UsageError(f"The engine {engine!r} has no policy to start from; --policy is for n2n and joint.")
    from deploycompress.search.n2n.policy_file import load_policies, to_text  # brings torch along

    return replace(settings, search=replace(settings.search, policies=to_text(load_policies(Path(path)))))


def policy_bytes(engine: str, state: Any, note: Mapping[str, str]) -> bytes | None:  # Any: the engine's own state
    """Give the content of a policy file after a search, none for an engine without a policy that travels."""
    module: Any = load_engine(engine)  # Any: only some engines have policies
    if not hasattr(module, "policies_of"):
        return None
    from deploycompress.search.n2n.policy_file import to_bytes

    return to_bytes(replace(module.policies_of(state), note=note))
