"""What was measured and judged before, by digest: in memory, and in a file from the moment there is one.

The file has one line of JSON for each entry and is only ever added to, so several processes can share it, and a killed
one loses at most the entry it was writing.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploycompress.errors import OutputError, UsageError
from deploycompress.store.trace_file import cut_unfinished

Entry = Mapping[str, float]


class Memory(Mapping[str, Entry]):
    """Entries by key; once written, an entry stays as it is."""

    def __init__(self) -> None:
        self._known: dict[str, Entry] = {}
        self._path: Path | None = None
        self._read_to = 0

    def keep_in(self, path: Path) -> None:
        """Read the entries of a file, add to it what is not there, and keep everything in it from now on.

        Raises:
            OutputError: the file cannot be written.
            UsageError: the file is damaged.
        """
        before, self._known, self._path, self._read_to = self._known, {}, path, 0
        try:
            path.touch()
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
        self._refresh()
        for key, entry in before.items():
            if key not in self._known:
                self.add(key, entry)

    def __getitem__(self, key: str) -> Entry:
        if key not in self._known:
            self._refresh()
        return self._known[key]

    def __contains__(self, key: object) -> bool:
        if key not in self._known:
            self._refresh()
        return key in self._known

    def add(self, key: str, value: Entry) -> None:
        """Keep an entry, unless there is one of that key already.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is None:
            self._known.setdefault(key, dict(value))
            return
        try:
            with self._path.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                cut_unfinished(stream)  # whoever holds the lock writes whole lines: the writer of half a one is dead
                self._refresh()
                if key not in self._known:
                    self._known[key] = dict(value)
                    stream.write(json.dumps([key, self._known[key]]).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}.") from error

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter(self._known)

    def __len__(self) -> int:
        self._refresh()
        return len(self._known)

    def _refresh(self) -> None:
        """Read what others have added."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._read_to)
                whole, end, _ = stream.read().rpartition(b"\n")
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read: {error.strerror}; start anew.") from error
        for line in whole.splitlines():
            self._take(line)
        self._read_to += len(whole) + len(end)

    def _take(self, line: bytes) -> None:
        try:
            key, value = json.loads(line)
            self._known.setdefault(key, {str(name): float(number) for name, number in value.items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"{self._path} is damaged at {line[:60]!r}; delete it and start anew.") from error
