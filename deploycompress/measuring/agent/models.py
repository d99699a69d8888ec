"""The models the agent keeps, by digest, so that each is sent once."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from .refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHARE_OF_MEMORY = 1 / 16
_LEAST_BYTES = 32 * 2**20


class ModelStore:
    """Models in memory; those used last stay.

    Args:
        limit_bytes: how much is kept beyond what a request needs.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._models: OrderedDict[str, bytes] = OrderedDict()

    def put(self, digests: Iterable[str], blobs: Iterable[bytes]) -> None:
        """Keep what was sent.

        Raises:
            RefusedError: a model is not the one it was announced to be.
        """
        for digest, blob in zip(digests, blobs):  # noqa: B905 - Python 3.8 has no strict zip
            found = hashlib.sha256(blob).hexdigest()
            if found != digest:
                raise RefusedError(
                    "transfer",
                    f"A model of {len(blob)} bytes arrived with SHA-256 {found[:16]}, sent was {str(digest)[:16]}; "
                    "the connection changes what it carries: does a terminal or a text filter stand between?",
                )
            self._models[digest] = blob

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Name the models that have to be sent."""
        return [digest for digest in digests if digest not in self._models]

    def take(self, digests: Iterable[str]) -> list[bytes]:
        """Give models, which count as the last used."""
        models = []
        for digest in digests:
            self._models.move_to_end(digest)
            models.append(self._models[digest])
        return models

    def forget(self, digests: Iterable[str]) -> list[str]:
        """Drop models, and name those that were there."""
        return [digest for digest in dict.fromkeys(digests) if self._models.pop(digest, None) is not None]

    def evict(self, needed: Iterable[str]) -> list[str]:
        """Drop what was not used for longest until the rest fits, and name it; what is needed stays."""
        keep, gone = set(needed), []
        for digest in list(self._models):
            if sum(map(len, self._models.values())) <= self._limit_bytes:
                break
            if digest not in keep:
                del self._models[digest]
                gone.append(digest)
        return gone


def memory_for_models() -> int:
    """Say how many bytes of models a machine of this size can keep."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return _LEAST_BYTES
    return max(int(total * _SHARE_OF_MEMORY), _LEAST_BYTES)
