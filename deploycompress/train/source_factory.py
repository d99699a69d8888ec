"""Calls a function of the user's own that returns images, and labels where they are known."""

from __future__ import annotations

import importlib
import re

import numpy as np

from deploycompress.capturing.importing import current_folder_importable
from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

# what the code of others may reasonably fail with; anything else is worth its traceback
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
    SyntaxError, SystemExit, TypeError, ValueError,
)  # fmt: skip


def read_factory(place: str) -> Dataset:
    """Call `package.module:factory` without arguments; the current folder is importable.

    The function returns `(images, labels)`: [N, H, W, C] uint8 or floats, and [N] integers; or the images alone.

    Raises:
        DataError: it cannot be imported, fails, or returns something else.
    """
    module_name, _, name = place.partition(":")
    try:
        with current_folder_importable():
            factory = getattr(importlib.import_module(module_name), name)
            made = factory()
    except FAILURES as error:
        raise DataError(
            f"The data factory {place!r} failed: {type(error).__name__}: {error}; "
            "it must be importable from the current folder and work without arguments."
        ) from error
    if isinstance(made, np.ndarray):
        return make_dataset(made, None, source=place)
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise DataError(
            f"The data factory {place!r} returned {type(made).__name__}; expected (images, labels) or images."
        )
    images, labels = made
    return make_dataset(np.asarray(images), None if labels is None else np.asarray(labels), source=place)
