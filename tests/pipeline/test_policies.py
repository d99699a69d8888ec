"""Policies go from one search into another, between engines that have them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.pipeline.policies import policy_bytes, with_policy
from deploycompress.pipeline.settings import read_settings
from deploycompress.search import load_engine
from deploycompress.search.n2n.policy_file import load_policies
from deploycompress.search.n2n.weights import from_text
from deploycompress.search.reward import RewardSettings
from tests.search.toy import make_space

LIMIT = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.6"),))
NOTE = {"engine": "joint", "seed": "0"}


def policy_of(engine: str, path: Path | None = None) -> bytes | None:
    settings = with_policy(read_settings((), engine), engine, path)
    module = load_engine(engine)
    state = module.init(make_space(), LIMIT, settings=settings.search, evaluations=20, seed=1)
    return policy_bytes(engine, state, NOTE)


@pytest.mark.parametrize(("first", "second"), [("n2n", "joint"), ("joint", "n2n"), ("n2n", "n2n")])
def test_a_policy_travels_between_engines(tmp_path: Path, first: str, second: str) -> None:
    written, untrained = policy_of(first), policy_of(second)
    assert written is not None
    (tmp_path / "one").write_bytes(written)
    passed_on = policy_of(second, tmp_path / "one")
    assert passed_on is not None
    (tmp_path / "two").write_bytes(passed_on)
    before, after = (from_text(load_policies(tmp_path / name).removal) for name in ("one", "two"))
    assert before.keys() == after.keys()
    shifted = [name for name in before if not torch.equal(before[name], after[name])]
    assert shifted in ([], ["policy.bias"])  # n2n starts where about enough blocks go
    assert dict(load_policies(tmp_path / "one").note) == NOTE
    assert untrained is not None


@pytest.mark.parametrize("engine", ["rl-pruner", "greedy", "random"])
def test_engines_without_a_policy_refuse_one(tmp_path: Path, engine: str) -> None:
    assert policy_of(engine) is None
    with pytest.raises(UsageError, match=f"'{engine}' has no policy to start from"):
        policy_of(engine, tmp_path / "any")


def test_without_a_file_settings_stay_as_they_are() -> None:
    settings = read_settings((), "joint")
    assert with_policy(settings, "joint", None) is settings


def test_a_file_without_a_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "any").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="safetensors"):
        policy_of("joint", tmp_path / "any")
