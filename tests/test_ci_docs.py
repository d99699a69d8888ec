"""The commands of docs/ci.md run as they stand there, with a small network and a profile of this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from deploycompress.graph import Graph
from tests.build import start
from tests.shared import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text()


def commands(language: str) -> list[str]:
    """Give every command of ours in the page's blocks of a language, with its continuation lines."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    joined = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    return [line.strip() for text in joined for line in text.splitlines() if line.strip().startswith("deploycompress ")]


def network(width: int) -> Graph:
    net = start()
    x = "x"
    for _ in range(3):
        x = net.op("Relu", net.conv(x, width))
    return net.finish(x, input_shape=(3, 24, 24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay a repository out as the page supposes it: the teacher, the model, and the model of the branch before."""
    root = tmp_path_factory.mktemp("repository")
    for place in ("model", "base/model", "bin"):
        (root / place).mkdir(parents=True)
    network(64).save(root / "teacher.onnx")
    network(8).save(root / "model" / "model.onnx")
    network(48).save(root / "base" / "model" / "model.onnx")
    digest = Graph.digest(network(48))
    result = {"student": {}, "artifacts": {"model.onnx": {"sha256": digest}}}
    (root / "base" / "model" / "result.json").write_text(json.dumps(result))
    program = root / "bin" / "deploycompress"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deploycompress "$@"\n')
    program.chmod(0o755)
    return root


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DEPLOYCOMPRESS_")},
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DEPLOYCOMPRESS_PROFILE": str(ROOT / "profiles" / "x86.toml"),
        "DEPLOYCOMPRESS_STARTS": "2",
        "DEPLOYCOMPRESS_MAX_SECONDS": "0.5",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_page_has_the_commands() -> None:
    assert [command.split()[1] for command in commands("yaml")] == ["check", "bench", "check"]
    assert [command.split()[1] for command in commands("sh")] == ["compare", "check", "check"]


@pytest.mark.parametrize("language", ["yaml", "sh"])
def test_every_command_runs_as_it_stands(language: str, folder: Path) -> None:
    for command in commands(language):
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert commands(language)
    if language == "sh":
        assert json.loads((folder / "comparison.json").read_text())["different"] is True
        return
    cases = {case.get("name") for case in Xml.parse(folder / "check.xml").iter("testcase")}
    assert cases == {"latency_ratio <= 0.5", "latency <= 1.05 * baseline"}
    assert "latency" in (folder / "summary.md").read_text()
    assert (folder / "check.md").read_text().count("| pass |") == 2
    assert len((folder / "bench.csv").read_text().splitlines()) == 3


def test_the_workflows_are_well_formed() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the workflows (pip install pyyaml)")
    github, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL))
    assert github["permissions"] == {"contents": "read"}
    assert github["concurrency"]["cancel-in-progress"] is False
    assert gitlab["edge"]["resource_group"] == github["concurrency"]["group"]
    assert gitlab["edge"]["artifacts"]["reports"]["junit"] == "check.xml"
    actions = [step["uses"] for step in github["jobs"]["check"]["steps"] if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
