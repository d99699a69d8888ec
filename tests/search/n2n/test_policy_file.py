"""Policies travel bit by bit, and what is no policy of this version is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from deploycompress.errors import OutputError, UsageError
from deploycompress.search.n2n import policy_file
from deploycompress.search.n2n.networks import REMOVAL, SHRINKAGE, initial
from deploycompress.search.n2n.policy_file import FORMAT, Policies, load_policies, save_policies
from deploycompress.search.n2n.weights import from_text, to_text


def _policies() -> Policies:
    removal, shrinkage = (
        to_text(initial(one, np.random.default_rng(5), with_critic=False)) for one in (REMOVAL, SHRINKAGE)
    )
    return Policies(removal=removal, shrinkage=shrinkage, note={"teacher": "resnet20", "seed": "3"})


def _parts(path: Path) -> tuple[dict[str, Tensor], Any]:  # Any: JSON
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return safetensors.torch.load(content), json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT])


def _write(path: Path, tensors: dict[str, Tensor], head: object) -> None:
    path.write_bytes(safetensors.torch.save(tensors, metadata={FORMAT: json.dumps(head)}))


def test_policies_come_back_as_they_were(tmp_path: Path) -> None:
    path, policies = tmp_path / "policies.safetensors", _policies()
    save_policies(path, policies)
    back = load_policies(path)
    assert back.note == policies.note
    for text, wanted in ((back.removal, policies.removal), (back.shrinkage, policies.shrinkage)):
        found, expected = from_text(text), from_text(wanted)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert policy_file.from_text(policy_file.to_text(back)) == back


def test_a_policy_that_was_not_trained_stays_away(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_policies(path, Policies(removal=_policies().removal))
    assert load_policies(path).shrinkage == ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("schema", 99, "schema 99"),
        ("feature_version", 7, "feature_version 7"),
        ("features", ["colour"], "colour"),
        ("hidden", {"removal": 31, "shrinkage": 50}, "31"),
    ],
)
def test_another_version_is_refused_by_name(tmp_path: Path, name: str, value: object, said: str) -> None:
    path = tmp_path / "other.safetensors"
    save_policies(path, _policies())
    tensors, head = _parts(path)
    _write(path, tensors, {**head, name: value})
    with pytest.raises(UsageError, match=said):
        load_policies(path)


def test_tensors_of_another_shape_missing_unknown_or_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_policies(path, _policies())
    tensors, head = _parts(path)
    name = "removal.policy.weight"
    for changed, said in (
        ({**tensors, name: torch.zeros(1, 61)}, r"shape \(1, 61\), expected \(1, 60\)"),
        ({**tensors, name: torch.full((1, 60), torch.nan)}, "not finite"),
        ({key: one for key, one in tensors.items() if key != name}, "lacks 'policy.weight'"),
        ({**tensors, "removal.more": torch.zeros(1)}, "unknown 'more'"),
    ):
        _write(path, changed, head)
        with pytest.raises(UsageError, match=said):
            load_policies(path)


def test_what_is_no_policy_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(UsageError, match="not a safetensors file"):
        load_policies(path)
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="not of policies"):
        load_policies(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_policies(tmp_path / "missing")
    with pytest.raises(UsageError, match="base64"):
        policy_file.from_text("#")
    with pytest.raises(OutputError, match="cannot be written"):
        save_policies(tmp_path / "no folder" / "file", _policies())
