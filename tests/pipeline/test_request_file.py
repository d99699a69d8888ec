"""A request comes back from its file as it was asked."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from deploycompress.errors import UsageError
from deploycompress.pipeline.job import Request
from deploycompress.pipeline.request_file import describe_request, read_request
from deploycompress.profile_files import load_profile

REQUEST = Request(
    source="/models/m.onnx", profile="x86", data=["/data/a.npz", "/data/b.npz"], test_data="torchvision:CIFAR10",
    normalize="imagenet", metric=None, precision="int8", constraints=("latency_ratio <= 0.5",), search="n2n",
    policy="/policies/p.safetensors", settings=("reward.kind=n2n",), budget=90.0, evaluations=7, epochs=3,
    input_shape=(1, 3, 32, 32), arch=None, targets=("ssh://pi@a",), trust=False, allow=(), seed=5, progress=None,
)  # fmt: skip


def written(folder: Path, request: Request, **changes: object) -> Path:
    described = describe_request(request)
    assert described is not None
    (folder / "run.json").write_text(json.dumps({"schema": 1, **described, **changes}))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": "digits#train", "test_data": None, "constraints": None, "input_shape": None, "policy": None},
        {"budget": None, "evaluations": None, "epochs": None, "normalize": None, "seed": 0},
        {"data": None, "images": 512},
        {"precision": "auto", "settled": "int8"},
    ],
)
def test_a_request_comes_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    request = replace(REQUEST, **changes)
    assert read_request(written(tmp_path, request), trust=False) == request


def test_trusted_code_comes_back_with_trust_alone(tmp_path: Path) -> None:
    request = replace(REQUEST, arch="nets:make", metric="mine:score", trust=True, allow=("nets.Net",), data="mine:load")
    folder = written(tmp_path, request)
    assert read_request(folder, trust=True) == request
    named = r"arch 'nets:make', metric 'mine:score', trust True, allow .*, data 'mine:load'"
    with pytest.raises(UsageError, match=f"loads code: {named}"):
        read_request(folder, trust=False)


@pytest.mark.parametrize(
    "target", ["exec:docker exec -i board python3 -I -c {bootstrap}", "ssh://board?config=/shared/run/config"]
)
def test_a_way_to_a_device_that_may_run_commands_is_code(tmp_path: Path, target: str) -> None:
    request = replace(REQUEST, targets=(target,))
    folder = written(tmp_path, request)
    assert read_request(folder, trust=True) == request
    with pytest.raises(UsageError, match=r"loads code: target '(exec|ssh):"):
        read_request(folder, trust=False)


def test_paths_are_those_of_the_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    folder = written(tmp_path / "out", replace(REQUEST, source=Path("m.pt"), policy=Path("p")))
    monkeypatch.chdir("/")
    found = read_request(folder, trust=False)
    assert (found.source, found.policy) == (str(tmp_path / "m.pt"), str(tmp_path / "p"))


def test_every_field_but_the_listener_is_written() -> None:
    described = describe_request(REQUEST)
    assert described is not None
    assert set(described) == {field.name for field in fields(Request)} - {"progress"}


def test_what_is_in_memory_cannot_be_written() -> None:
    assert describe_request(replace(REQUEST, profile=load_profile("x86"))) is None


def test_a_request_that_lacks_something_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path, REQUEST)
    run = json.loads((folder / "run.json").read_text())
    del run["seed"]
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match="lacks 'seed'; start it anew"):
        read_request(folder, trust=False)
