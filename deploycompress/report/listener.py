"""Who listens to a run: a terminal, a log, or nobody; `rich` is imported only when a terminal is there to draw on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from deploycompress.report.lines import PlainProgress, QuietProgress
from deploycompress.report.progress import Progress


@contextmanager
def open_progress(stream: TextIO, *, quiet: bool = False) -> Iterator[Progress]:
    """Choose the listener that suits a stream and close it in the end.

    Args:
        stream: where progress is shown, normally standard error.
        quiet: show warnings only.

    Yields:
        Moving bars on a terminal (without colour where `NO_COLOR` is set), lines elsewhere.
    """
    if quiet:
        yield QuietProgress(stream)
    elif stream.isatty() and os.environ.get("TERM") != "dumb":
        from deploycompress.report.bars import open_bars

        with open_bars(stream) as bars:
            yield bars
    else:
        yield PlainProgress(stream)
