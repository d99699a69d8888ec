"""Files that survive a killed process: a growing file of lines, and a file that is replaced whole or not at all.

It knows lines and text, and nothing of what they say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from deploycompress.errors import OutputError, UsageError


def append_line(path: Path, text: str) -> None:
    """Add one line at the end of a file and wait until it is on the disk; a missing file is made.

    A last line without its end, left by a process that was killed while it wrote, is cut off first.

    Raises:
        OutputError: the file cannot be written.
        ValueError: the text is more than one line.
    """
    if "\n" in text or "\r" in text:
        raise ValueError(f"One line was expected, got {text[:40]!r} with a line break.")
    try:
        with path.open("a+b") as stream:
            cut_unfinished(stream)
            stream.write(text.encode("utf-8") + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(_cannot("written", path, error)) from error


def read_lines(path: Path) -> tuple[str, ...]:
    """Give the finished lines of a file, without their ends; an unfinished last one is dropped.

    Raises:
        UsageError: the file cannot be read, or is not UTF-8.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(_cannot("read", path, error)) from error
    return tuple(_decoded(line, number, path) for number, line in enumerate(lines, start=1))


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file by a content in one step: whoever reads it finds the old content or the new, never a part.

    Raises:
        OutputError: the file cannot be written; the old content stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with draft.open("wb") as stream:
                stream.write(content.encode("utf-8") if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _settle(path.parent)
    except OSError as error:
        raise OutputError(_cannot("written", path, error)) from error


def cut_unfinished(stream: BinaryIO) -> None:
    """Cut off a last line without its end, which a process that was killed while it wrote has left."""
    end = stream.seek(0, os.SEEK_END)
    if end == 0:
        return
    stream.seek(end - 1)
    if stream.read(1) != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def _decoded(line: bytes, number: int, path: Path) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"Line {number} of {path} is not UTF-8: {error.reason} at byte {error.start}; the file is damaged."
        ) from error


def _settle(folder: Path) -> None:
    """Wait until a folder's entries are on the disk, where the system can: a rename may be lost with the power."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot(done: str, path: Path, error: OSError) -> str:
    return f"{path} cannot be {done}: {error.strerror or error}; check the folder and its permissions."
