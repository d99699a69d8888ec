"""Help, the version and the bare import stay light: no torch, no ONNX Runtime, within half a second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest

from deploycompress.cli.main import program

HEAVY = ("torch", "torchvision", "onnxruntime")
LONGEST_HELP_S = 0.5
TRIES = 5  # the fastest counts: a machine may be busy, code is slow every time


def _help_lines(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield (*words, "--help")
    for name, child in getattr(command, "commands", {}).items():
        yield from _help_lines(child, (*words, name))


def _loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and name the top-level modules it has loaded."""
    script = f"import sys\n{code}\nprint('LOADED', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("words", [*_help_lines(program), ("--version",)], ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    loaded = _loaded_after(f"from deploycompress.cli.main import main\nassert main({list(words)!r}) == 0")
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "code",
    ["import deploycompress", "import deploycompress.profile", "import deploycompress.report.summary"],
)
def test_light_modules_import_nothing_heavy(code: str) -> None:
    loaded = _loaded_after(code)
    assert "deploycompress" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_probe_sees_a_heavy_import() -> None:
    assert "onnxruntime" in _loaded_after("import onnxruntime")


def test_help_answers_within_half_a_second() -> None:
    code = "from deploycompress.cli.main import main; raise SystemExit(main(['--help']))"
    seconds = []
    for _ in range(TRIES):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, env={**os.environ})
        seconds.append(time.perf_counter() - started_s)
        if seconds[-1] < LONGEST_HELP_S:
            break
    assert min(seconds) < LONGEST_HELP_S
