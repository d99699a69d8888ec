"""Files appear whole or not at all, and never over an existing result unasked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deploycompress.errors import OutputError
from deploycompress.pipeline.result import check_destination, write_result


def test_existing_result_is_kept_without_force(tmp_path: Path) -> None:
    write_result(tmp_path / "out", {"schema": 1}, b"first", b"policy", force=False)
    with pytest.raises(OutputError, match=r"model\.onnx already"):
        write_result(tmp_path / "out", {"schema": 1}, b"second", None, force=False)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"first"
    write_result(tmp_path / "out", {"schema": 2}, b"second", None, force=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"second"
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == {"schema": 2}


def test_policy_is_written_where_there_is_one(tmp_path: Path) -> None:
    write_result(tmp_path / "with", {}, b"model", b"policy", force=False)
    assert (tmp_path / "with" / "policy.safetensors").read_bytes() == b"policy"
    write_result(tmp_path / "without", {}, b"model", None, force=False)
    assert not (tmp_path / "without" / "policy.safetensors").exists()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_result(tmp_path, {}, b"model", None, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "notes.txt", "result.json"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        check_destination(tmp_path / "out", force=True)


def test_failed_write_leaves_no_partial_file(tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    taken = tmp_path / "out" / f".result.json.{os.getpid()}.partial"
    taken.mkdir()
    (taken / "keeps the folder from being replaced").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        write_result(tmp_path / "out", {}, b"model", None, force=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [taken.name]


def test_folder_below_a_file_and_folder_in_the_place_of_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match="is no folder"):
        check_destination(tmp_path / "file" / "out", force=False)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is no folder"):
        check_destination(tmp_path / "dangling", force=False)
    (tmp_path / "out" / "model.onnx").mkdir(parents=True)
    with pytest.raises(OutputError, match="is a folder"):
        check_destination(tmp_path / "out", force=True)
