"""Policies that travel from one teacher to another (N2N, section 4.6): a safetensors file that says what it is."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from deploycompress.errors import OutputError, UsageError
from deploycompress.search.n2n import features
from deploycompress.search.n2n.networks import ACTIONS, REMOVAL, SHRINKAGE, Architecture
from deploycompress.search.n2n.weights import from_text as weights_from_text
from deploycompress.search.n2n.weights import to_text as weights_to_text

SCHEMA = 1
FORMAT = "deploycompress.n2n.policies"
NETWORKS: Mapping[str, Architecture] = {"removal": REMOVAL, "shrinkage": SHRINKAGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The two policies.

    Attributes:
        removal: tensors as text (`weights.to_text`); empty when it was not trained.
        shrinkage: likewise.
        note: what they were trained on, free text by free names: teacher, profile, seed, updates.
    """

    removal: str = ""
    shrinkage: str = ""
    note: Mapping[str, str] = field(default_factory=dict)


def save_policies(path: Path, policies: Policies) -> None:
    """Write policies to a file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.write_bytes(to_bytes(policies))
    except OSError as error:
        raise OutputError(f"The policies cannot be written to {path}: {error.strerror}.") from error


def load_policies(path: Path) -> Policies:
    """Read policies from a file.

    Raises:
        UsageError: the file cannot be read, is none of policies, or of another version, feature set or size.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The policies in {path} cannot be read: {error.strerror}.") from error
    return _from_bytes(content, str(path))


def to_text(policies: Policies) -> str:
    """Write policies as a text, the one that `Settings.policies` takes."""
    return base64.b64encode(to_bytes(policies)).decode("ascii")


def from_text(text: str) -> Policies:
    """Read policies that `to_text` wrote.

    Raises:
        UsageError: the text is no policies, or of another version, feature set or size.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise UsageError(f"The policies to start from are not base64: {error}.") from error
    return _from_bytes(content, "the setting 'policies'")


def to_bytes(policies: Policies) -> bytes:
    """Write policies as the content of a file."""
    tensors = {
        f"{which}.{name}": tensor
        for which, text in (("removal", policies.removal), ("shrinkage", policies.shrinkage))
        if text
        for name, tensor in weights_from_text(text).items()
    }
    head = {**_expected(), "note": dict(policies.note)}
    return safetensors.torch.save(tensors, metadata={FORMAT: json.dumps(head, sort_keys=True)})


def _expected() -> dict[str, Any]:  # Any: JSON
    return {
        "schema": SCHEMA,
        "feature_version": features.VERSION,
        "features": list(features.DECISION_FEATURES),
        "actions": list(ACTIONS),
        "hidden": {which: architecture.hidden for which, architecture in NETWORKS.items()},
    }


def _from_bytes(content: bytes, where: str) -> Policies:
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise UsageError(f"{where} holds no policies, it is not a safetensors file: {error}.") from error
    head = _head(content, where)
    for name, wanted in _expected().items():
        if head.get(name) != wanted:
            raise UsageError(
                f"The policies in {where} have {name} {head.get(name)!r}, this version needs {wanted!r}; "
                "train them anew with this version."
            )
    note = head.get("note")
    texts = {which: _checked(which, tensors, where) for which in NETWORKS}
    return Policies(**texts, note={str(key): str(value) for key, value in (note or {}).items()})


def _head(content: bytes, where: str) -> Mapping[str, Any]:  # Any: JSON
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    try:
        head = json.loads(metadata.get(FORMAT, ""))
    except json.JSONDecodeError as error:
        raise UsageError(f"{where} is safetensors, but not of policies; expected {FORMAT!r} in it.") from error
    if not isinstance(head, dict) or not isinstance(head.get("note", {}), dict):
        raise UsageError(f"The policies in {where} do not describe themselves as {FORMAT!r} should; save them anew.")
    return head


def _checked(which: str, tensors: Mapping[str, Tensor], where: str) -> str:
    """Take one policy's tensors, none of which may be missing, unknown, of another shape, or not finite."""
    prefix = f"{which}."
    found = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
    if not found:
        return ""
    wanted = NETWORKS[which].shapes(with_critic=False)
    odd = sorted(set(wanted) ^ set(found))
    if odd:
        is_missing = odd[0] in wanted
        raise UsageError(f"The {which} policy in {where} {'lacks' if is_missing else 'has the unknown'} {odd[0]!r}.")
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise UsageError(
                f"The {which} policy in {where} has {name!r} of shape {tuple(found[name].shape)}, expected {shape}."
            )
        if not found[name].is_floating_point() or not bool(found[name].isfinite().all()):
            raise UsageError(f"The {which} policy in {where} has numbers in {name!r} that are not finite.")
    return weights_to_text({name: found[name].float() for name in wanted})
