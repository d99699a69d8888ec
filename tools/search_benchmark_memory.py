"""A memory on the disk that several processes add to: one line of JSON for each entry, never changed."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

Entry = Mapping[str, float]


class FileMemory(MutableMapping[str, Entry]):
    """What was measured and judged, by digest; others' entries are found as soon as they are written."""

    def __init__(self, path: Path) -> None:
        self._path, self._known, self._read_to = path, dict[str, Entry](), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def __getitem__(self, key: str) -> Entry:
        if key not in self._known:
            self._refresh()
        return self._known[key]

    def __contains__(self, key: object) -> bool:
        if key not in self._known:
            self._refresh()
        return key in self._known

    def __setitem__(self, key: str, value: Entry) -> None:
        with self._path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(json.dumps([key, dict(value)]) + "\n")
        self._known[key] = dict(value)

    def __delitem__(self, key: str) -> None:
        raise TypeError("What was measured stays.")

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter(self._known)

    def __len__(self) -> int:
        self._refresh()
        return len(self._known)

    def _refresh(self) -> None:
        with self._path.open("rb") as stream:
            stream.seek(self._read_to)
            whole, _, _ = stream.read().rpartition(b"\n")
        for line in whole.splitlines():
            key, value = json.loads(line)
            self._known.setdefault(key, value)
        self._read_to += len(whole) + bool(whole)
