"""What `pip install .` copies: every package, and the profiles of the top-level folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_is_listed_for_installation() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    package = ROOT / "deploycompress"
    present = {".".join(file.parent.relative_to(ROOT).parts) for file in package.rglob("__init__.py")}
    assert set(listed) == present | {"deploycompress.profiles"}


def test_the_profiles_folder_is_mapped_into_the_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert (ROOT / setuptools["package-dir"]["deploycompress.profiles"] / "x86.toml").is_file()
    assert setuptools["package-data"]["deploycompress.profiles"] == ["*.toml", "*.json"]
