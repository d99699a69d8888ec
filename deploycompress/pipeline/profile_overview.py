"""What the profiles at hand are, and what is wrong with them: the documents behind `profiles list` and `validate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deploycompress.errors import ProfileError
from deploycompress.profile_advice import advise
from deploycompress.profile_files import alias_target, load_profile, problems_of, profile_names

Document = Mapping[str, Any]  # Any: JSON


def list_profiles() -> list[Document]:
    """Describe every profile that can be loaded by name, those included that are not in order."""
    return [_describe(name) for name in profile_names()]


def check_profiles(names_or_paths: Iterable[str]) -> list[Document]:
    """Find everything that is wrong with profiles, and what is risky in those that are in order.

    Args:
        names_or_paths: names of profiles, or paths of `.toml` files.

    Returns:
        For each of them `profile`, `problems` and `warnings`.
    """
    return [_check(given) for given in names_or_paths]


def _describe(name: str) -> Document:
    try:
        alias, profile = alias_target(name), load_profile(name)
    except ProfileError as error:
        return {"name": name, "problem": str(error)}
    return {
        "name": name,
        "alias_of": alias,
        "title": profile.device.title,
        "arch": profile.device.arch,
        "providers": list(profile.runtime.providers),
        "reach": profile.measure.reach,
        "is_this_machine": profile.is_local_device,
    }


def _check(given: str) -> Document:
    problems = problems_of(given)
    warnings = () if problems else advise(load_profile(given))
    return {"profile": given, "problems": list(problems), "warnings": list(warnings)}
