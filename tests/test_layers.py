"""The architecture of docs/architecture.md, enforced; and proof that the enforcer notices violations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_layers import check_package, check_source

PACKAGE = Path(__file__).resolve().parent.parent / "deploycompress"


def test_every_import_of_the_package_keeps_to_the_layers() -> None:
    assert len(list(PACKAGE.rglob("*.py"))) > 20
    assert [str(violation) for violation in check_package(PACKAGE)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("channels/groups.py", "from deploycompress.surgery.slim import slim"),
        ("search/policy.py", "from deploycompress.train import recover"),
        ("channels/groups.py", "def f():\n    import deploycompress.capturing"),
        ("errors.py", "from deploycompress import plan"),
        ("report/summary.py", "from deploycompress.pipeline import Result"),
        ("train/loop.py", "from deploycompress import compress"),
        ("train/loop.py", "import deploycompress"),
        ("train/loop.py", "from ..cli import main"),
        ("train/loop.py", "from .. import pipeline"),
        (
            "measuring/clock.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from deploycompress.search import x",
        ),
        ("channels/groups.py", "import torch.nn as nn"),
        ("surgery/slim.py", "def f():\n    from onnxruntime import InferenceSession"),
        ("surgery/slim.py", "import importlib\nimportlib.import_module('torch')"),
        ("pipeline.py", "import torch"),
        ("pipeline.py", "import click"),
        ("search/policy.py", "import sqlite3"),
        ("execute/local.py", "import torchvision"),
        ("helpers.py", ""),
        ("helpers/__init__.py", ""),
        ("pipeline.py", "from deploycompress.helpers import anything"),
    ],
)
def test_a_violation_is_reported_with_its_place(path: str, source: str) -> None:
    violations = check_source(path, source)
    assert [violation.path for violation in violations] == [path]
    assert 1 <= violations[0].line <= max(1, len(source.splitlines()))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("surgery/slim.py", "from deploycompress.channels import groups\nfrom .masks import mask"),
        ("surgery/oracle.py", "import onnxruntime"),
        ("measuring/session.py", "import onnxruntime as ort"),
        ("pipeline.py", "from deploycompress.report.progress import Progress\nfrom deploycompress import plan"),
        ("cli/compress.py", "import click\ndef f():\n    from deploycompress.pipeline import compress"),
        ("__init__.py", "import importlib\nimportlib.import_module('deploycompress.pipeline')"),
        ("errors.py", "import json"),
    ],
)
def test_what_the_architecture_allows_is_not_reported(path: str, source: str) -> None:
    assert check_source(path, source) == []


def test_a_whole_package_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "channels").mkdir()
    (tmp_path / "channels" / "groups.py").write_text("import os\nimport torch\n")
    (tmp_path / "plan.py").write_text("from deploycompress.errors import PlanError\n")
    assert [(violation.path, violation.line) for violation in check_package(tmp_path)] == [("channels/groups.py", 2)]
