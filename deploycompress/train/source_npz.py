"""Reads NumPy archives with `images`, and `labels` where they are known; never unpickles."""

from __future__ import annotations

import glob
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset

_UNREADABLE = (
    EOFError, KeyError, MemoryError, OSError, OverflowError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def expand_npz(pattern: str) -> list[Path]:
    """Find the files a path or glob pattern stands for, sorted by name.

    Raises:
        DataError: there is none.
    """
    if Path(pattern).exists():
        return [Path(pattern)]
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207  # the pattern may be absolute
    if found:
        return found
    if glob.has_magic(pattern):
        raise DataError(f"No file matches {pattern!r}; check the pattern and the folder.")
    raise DataError(f"The data file {pattern!r} does not exist; check the path.")


def read_npz(path: Path) -> Dataset:
    """Read one archive: `images` [N, H, W, C], and optionally `labels` [N] and `class_names` [K].

    Raises:
        DataError: it cannot be read, lacks an array, or holds pickled objects.
    """
    try:
        with path.open("rb") as file, _archive(file) as archive:
            if "images" not in archive.files:
                raise DataError(
                    f"{path} has no array 'images' (it holds {', '.join(archive.files) or 'nothing'}); "
                    "save it with numpy.savez(path, images=..., labels=...)."
                )
            images = archive["images"]
            _check_labels_not_misnamed(archive, path, count=len(images) if images.ndim else 0)
            names: NDArray[np.generic] = archive["class_names"] if "class_names" in archive.files else np.array([])
            return make_dataset(
                images,
                archive["labels"] if "labels" in archive.files else None,
                source=str(path),
                class_names=[str(name) for name in names.flat],
            )
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as .npz: {error}; save plain arrays with numpy.savez(path, images=..., labels=...)."
        ) from error


def _check_labels_not_misnamed(archive: NpzFile, path: Path, *, count: int) -> None:
    if "labels" in archive.files:
        return
    for name in set(archive.files) - {"images"}:
        array = archive[name]
        if array.dtype.kind in "iu" and array.shape == (count,):
            raise DataError(
                f"{path} has no array 'labels', but {name!r} looks like labels; call it 'labels', or leave it out "
                "so that students are judged by how well they agree with the teacher."
            )


def _archive(file: BinaryIO) -> NpzFile:
    archive = np.load(file, allow_pickle=False)
    if not isinstance(archive, NpzFile):
        raise ValueError("it holds one array, not an archive of several")
    return archive
