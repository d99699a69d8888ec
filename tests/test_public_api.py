"""What `import deploycompress` promises: every public name is there, and stays what it is whatever else is imported."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import deploycompress


@pytest.mark.parametrize("name", deploycompress.__all__)
def test_public_name_is_no_folder_even_after_everything_is_imported(name: str) -> None:
    for module in pkgutil.walk_packages(deploycompress.__path__, "deploycompress."):
        importlib.import_module(module.name)
    assert callable(getattr(deploycompress, name))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'shrink'"):
        _ = deploycompress.shrink


def test_table_and_all_agree() -> None:
    assert sorted(deploycompress.__all__) == sorted(deploycompress._HOMES)
