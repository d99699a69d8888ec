"""`deploycompress report`: pictures from the files of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.cli.main import main
from tests.pipeline.test_checkpoint import kept

pytest.importorskip("matplotlib", reason="matplotlib draws (pip install deploycompress[report])")


def test_a_missing_folder_and_one_without_a_search_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        assert main(["report", str(folder)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert f"'{folder}' holds no search: there is no trace.jsonl in it" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_finished", [True, False])
def test_pictures_are_drawn_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], is_finished: bool) -> None:
    checkpoint = kept(tmp_path, 4)
    if is_finished:
        checkpoint.finish()
    for words, folder in ([], tmp_path / "plots"), (["-o", str(tmp_path / "here")], tmp_path / "here"):
        assert main(["report", str(tmp_path), *words]) == 0
        named = [Path(line) for line in capsys.readouterr().out.splitlines()]
        assert {path.name for path in named} == {"reward.png", "front.png", "sparsity.png"}
        assert set(named) == set(folder.iterdir())
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in named)


def test_a_damaged_trace_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path)
    (tmp_path / "trace.jsonl").write_text("{\n")
    assert main(["report", str(tmp_path)]) == 2
    assert "Line 1 of the trace is damaged" in capsys.readouterr().err
