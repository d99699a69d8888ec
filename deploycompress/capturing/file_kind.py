"""What a model file is, told from its bytes and never from its name; nothing is loaded."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from deploycompress.errors import ModelError

EXPECTED = "expected an ONNX model, a PyTorch state dict, a pickled module, a TorchScript file or a .pt2 program"
LARGEST_EXPANSION = 100  # torch stores tensors uncompressed; a hundredfold is far beyond any honest archive
PICKLE_PROTOCOL = b"\x80"
ZIP_START = b"PK"


class FileKind(Enum):
    """The ways a network may be stored; the value is what messages call it."""

    ONNX = "an ONNX model"
    TORCH_ARCHIVE = "a PyTorch checkpoint"
    TORCH_LEGACY = "a PyTorch checkpoint in the format before 1.6"
    TORCHSCRIPT = "a TorchScript file"
    EXPORTED_PROGRAM = "an exported program (.pt2)"


def file_kind(path: Path) -> FileKind:
    """Tell what a model file is.

    Raises:
        ModelError: the file is missing, empty, truncated, a folder, or none of the known kinds.
    """
    start = _first_bytes(path)
    if start.startswith(ZIP_START):
        return _archive_kind(path)
    if start.startswith(PICKLE_PROTOCOL):
        return FileKind.TORCH_LEGACY
    if path.suffix.lower() == ".onnx" or start.startswith(b"\x08"):  # protobuf field 1: the IR version
        return FileKind.ONNX
    raise ModelError(f"{path} starts with {start[:8]!r}, which is no model format; {EXPECTED}.")


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise ModelError(f"{path} does not exist; check the path of the model.")
    if not path.is_file():
        raise ModelError(f"{path} is not a file; {EXPECTED}.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if not start:
        raise ModelError(f"{path} is empty; {EXPECTED}.")
    return start


def _archive_kind(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"{path} is truncated or damaged ({error}); copy or save it again.") from error
    expanded = sum(entry.file_size for entry in entries)
    if expanded > LARGEST_EXPANSION * path.stat().st_size:
        raise ModelError(f"{path} would expand to {expanded} bytes, over {LARGEST_EXPANSION} times its size; refused.")
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "serialized_exported_program.json" in names or any(
        name.startswith("models/") and name.endswith(".json") for name in names
    ):
        return FileKind.EXPORTED_PROGRAM
    if "constants.pkl" in names:
        return FileKind.TORCHSCRIPT
    if "data.pkl" in names:
        return FileKind.TORCH_ARCHIVE
    raise ModelError(f"{path} is a zip archive, but holds no model; {EXPECTED}.")
