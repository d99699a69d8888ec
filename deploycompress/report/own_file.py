"""Files that a report may replace: its own of an earlier run, told by a mark, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

from deploycompress.errors import OutputError

_SEARCHED_BYTES = 4096


def check_place(path: Path, mark: str) -> None:
    """Refuse a place that cannot take a report, before any work is done.

    Args:
        path: the file to write.
        mark: text near the beginning of every file of its kind that this program writes.

    Raises:
        OutputError: something that another program wrote is there, or the folder is missing or may not be written to.
    """
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder of {str(path)!r} does not exist; make it, or give another place.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder of {str(path)!r} may not be written to; give another place.")
    if path.exists() and not _has_mark(path, mark):
        raise OutputError(f"{str(path)!r} was not written by this program; remove it, or give another name.")


def write_own(path: Path, content: bytes, mark: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: the place cannot take it, or the disk is full.
    """
    check_place(path, mark)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} could not be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _has_mark(path: Path, mark: str) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(_SEARCHED_BYTES)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be read: {error.strerror}; give another name.") from error
    return not start or mark.encode() in start
