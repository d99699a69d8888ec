"""Finds what `--arch` and `--allow` name: code the user asked for, with the current folder importable."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from deploycompress.errors import UsageError

ARCH_FORM = "expected package.module:factory or torchvision:name, with literal arguments such as (num_classes=10)"
ARCH_PATTERN = re.compile(r"(?P<module>[\w.]+):(?P<name>[A-Za-z_]\w*)(?P<call>\(.*\))?", re.DOTALL)
# What a factory of the user may well raise; other exceptions are bugs worth their traceback.
FACTORY_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SystemExit,
)  # fmt: skip


def build_architecture(arch: str) -> nn.Module:
    """Call the factory that `--arch` names.

    Args:
        arch: `package.module:factory`, optionally with literal arguments in parentheses; `torchvision` stands for
            `torchvision.models`.

    Raises:
        UsageError: the text cannot be understood, the factory cannot be found or fails, or it makes no module.
    """
    match = ARCH_PATTERN.fullmatch(arch.strip())
    if match is None:
        raise UsageError(f"--arch {arch!r} cannot be understood; {ARCH_FORM}.")
    positional, keywords = _literal_arguments(arch, match["call"] or "()")
    module = "torchvision.models" if match["module"] == "torchvision" else match["module"]
    factory = import_object(module, match["name"], option=f"--arch {arch}")
    if not callable(factory):
        raise UsageError(f"--arch {arch}: {match['name']} is a {type(factory).__name__}, expected a function or class.")
    try:
        with current_folder_importable():
            built = factory(*positional, **keywords)
    except (*FACTORY_ERRORS, TypeError, ValueError) as error:
        raise UsageError(f"--arch {arch} fails: {type(error).__name__}: {error}; check its arguments.") from error
    if not isinstance(built, nn.Module):
        raise UsageError(f"--arch {arch} makes a {type(built).__name__}, expected a torch.nn.Module.")
    return built


def import_object(module: str, name: str, *, option: str) -> Any:  # Any: a user may name anything
    """Import one attribute of a module.

    Raises:
        UsageError: the module cannot be imported or has no such attribute.
    """
    try:
        with current_folder_importable():
            imported = importlib.import_module(module)
    except (*FACTORY_ERRORS, SyntaxError, TypeError, ValueError) as error:
        raise UsageError(
            f"{option}: module {module!r} cannot be imported ({error}); run from the folder it lies in."
        ) from error
    if not hasattr(imported, name):
        raise UsageError(f"{option}: module {module!r} has no {name!r}; check the spelling.")
    return getattr(imported, name)


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Put the current folder on the import path for a while."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _literal_arguments(arch: str, call: str) -> tuple[list[Any], dict[str, Any]]:  # Any: literals of every type
    try:
        parsed = ast.parse(f"f{call}", mode="eval").body
        if not isinstance(parsed, ast.Call) or any(keyword.arg is None for keyword in parsed.keywords):
            raise ValueError("not a plain call")
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in parsed.keywords if keyword.arg}
        return [ast.literal_eval(argument) for argument in parsed.args], keywords
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise UsageError(f"--arch {arch!r}: the arguments are not literals ({error}); {ARCH_FORM}.") from error
