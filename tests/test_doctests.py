"""Every public function shows an example, and the examples are true."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import deploycompress

# What takes minutes has its example in the README and is run by tests/cli/test_real_run.py and
# tests/pipeline/test_resume.py.
TOO_LONG = {"compress", "resume"}
FUNCTIONS = sorted(
    name
    for name in deploycompress.__all__
    if inspect.isfunction(getattr(deploycompress, name)) and name not in TOO_LONG
)


def examples_of(name: str) -> list[doctest.DocTest]:
    documented = getattr(deploycompress, name)
    module = importlib.import_module(documented.__module__)
    found = doctest.DocTestFinder(recurse=False).find(documented, name, module=module, globs={})
    return [example for example in found if example.examples]


def test_there_are_functions_to_look_at() -> None:
    assert {"capture", "channel_groups", "blocks", "slim", "masked", "to_torch", "save_pt2"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", [*FUNCTIONS, "Plan"])
def test_the_example_of_a_public_name_is_true(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = examples_of(name)
    results = doctest.DocTestRunner().run(example)
    assert results.attempted > 0
    assert results.failed == 0, capsys.readouterr().out
