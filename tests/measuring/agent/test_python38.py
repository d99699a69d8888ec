"""The agent runs on the oldest Python a device may have: nothing newer stands in it, and nothing of the package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from deploycompress.measuring import agent

MODULES = sorted(Path(agent.__file__).parent.glob("*.py"))
NEWER_METHODS = {"removeprefix", "removesuffix", "is_relative_to", "readlink", "getcpu", "sched_getcpu"}
BUILT_IN_GENERICS = {"dict", "list", "tuple", "set", "frozenset", "type"}


def evaluated(tree: ast.Module) -> list[ast.AST]:
    """Everything that runs: annotations do not, nor does what stands under TYPE_CHECKING."""
    found: list[ast.AST] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            if isinstance(node, ast.If) and name == "body" and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            todo += [child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_grammar_is_that_of_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_nothing_that_runs_needs_a_newer_python(path: Path) -> None:
    for node in evaluated(ast.parse(path.read_text())):
        line = f"line {getattr(node, 'lineno', '?')}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in NEWER_METHODS, line
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in BUILT_IN_GENERICS, line
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            assert not any(isinstance(side, ast.Dict | ast.DictComp) for side in (node.left, node.right)), line
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            assert not node.keywords, line


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_only_the_standard_library_numpy_and_onnx_runtime_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"line {node.lineno} leaves the folder"
            roots = set() if node.level else {str(node.module).partition(".")[0]}
        else:
            continue
        assert roots <= sys.stdlib_module_names | {"numpy", "onnxruntime"}, f"line {node.lineno}"


def test_the_watchdog_itself_sees_what_is_newer() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = dict[str, int]\ny: dict[str, int] = {}"
    )
    assert not any(isinstance(node, ast.Subscript) for node in evaluated(tree))
    assert any(isinstance(node, ast.Subscript) for node in evaluated(ast.parse("x = dict[str, int]")))
