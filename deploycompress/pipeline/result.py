"""What a run gives back: the document of result.json, and the files, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploycompress.errors import OutputError

SCHEMA = 1
MODEL_FILE = "model.onnx"
RESULT_FILE = "result.json"
POLICY_FILE = "policy.safetensors"
STATE_FILE = "search.json"

Document = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a compression.

    Attributes:
        met: whether the shipped bytes were seen to meet every constraint.
        document: the content of result.json.
        model: the bytes of model.onnx.
        out: folder the files were written to, none when nowhere was asked for.
    """

    met: bool
    document: Document
    model: bytes
    out: Path | None


def check_destination(out: Path | None, *, force: bool) -> None:
    """Refuse a folder that cannot take a result, before any work is done.

    Raises:
        OutputError: the folder holds a result or an unfinished search and `force` is not set, or it is no folder.
    """
    if out is None:
        return
    _check_place(out, force=force)
    if (out / STATE_FILE).exists() and not force:
        raise OutputError(
            f"{str(out)!r} holds an unfinished search; go on with it by 'deploycompress resume {out}', or give another "
            "folder with --out, or --force to drop it."
        )


def _check_place(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{str(out)!r} is a file; give the name of a folder for the result.")
    blocked = [name for name in (MODEL_FILE, RESULT_FILE) if (out / name).is_dir()]
    if blocked:
        raise OutputError(f"{str(out / blocked[0])!r} is a folder; give another place with --out.")
    taken = [name for name in (MODEL_FILE, RESULT_FILE) if (out / name).exists()]
    if taken and not force:
        raise OutputError(
            f"{str(out)!r} holds {taken[0]} already; give another folder with --out, or --force to replace it."
        )
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists() or folder.is_symlink())
    if not parent.is_dir():
        raise OutputError(f"{str(parent)!r} is no folder, so {str(out)!r} cannot be made; give another with --out.")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"The folder {str(parent)!r} may not be written to; give another with --out.")


def write_result(out: Path, document: Document, model: bytes, policy: bytes | None, *, force: bool) -> None:
    """Write model, policy if there is one, and document; each appears whole, the document last.

    Raises:
        OutputError: another result appeared meanwhile, or the folder cannot be written to.
    """
    _check_place(out, force=force)
    try:
        out.mkdir(parents=True, exist_ok=True)
        policies = {} if policy is None else {POLICY_FILE: policy}
        _write_whole(
            out, {MODEL_FILE: model, **policies, RESULT_FILE: (json.dumps(document, indent=2) + "\n").encode()}
        )
    except OSError as error:
        raise OutputError(f"The result could not be written to {str(out)!r}: {error.strerror}.") from error


def describe_artifact(model: bytes, *, opset: int, ir_version: int) -> Document:
    """Say what is needed to tell and to load the shipped file."""
    return {"sha256": hashlib.sha256(model).hexdigest(), "opset": opset, "ir_version": ir_version}


def _write_whole(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put all contents on the disk before the first name appears, so that no file stands beside another run's."""
    partials = {name: folder / f".{name}.{os.getpid()}.partial" for name in files}
    try:
        for name, content in files.items():
            with partials[name].open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for name, partial in partials.items():
            partial.replace(folder / name)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
