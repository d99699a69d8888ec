"""Frames between host and agent: a mark, the header's length, a JSON header, and binary blobs after it.

Neither side trusts what arrives: everything has a limit, and what is no frame is said to be none.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Dict, NamedTuple  # noqa: UP035 - runs on Python 3.8, too

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Message = Dict[str, Any]  # noqa: UP006 - runs on Python 3.8, too; Any: a decoded JSON object

MARK = b"\0dc1"
PREFIX = struct.Struct(">4sI")


class Limits(NamedTuple):
    """The most that one frame may hold.

    Attributes:
        header_bytes: of JSON.
        blobs: number of blobs.
        blob_bytes: of all blobs together.
    """

    header_bytes: int
    blobs: int
    blob_bytes: int


TO_AGENT = Limits(header_bytes=2**24, blobs=256, blob_bytes=2**32)
TO_HOST = Limits(header_bytes=2**26, blobs=4, blob_bytes=2**31)


class FrameError(Exception):
    """What arrived is no frame.

    Args:
        sentence: what is wrong with it.
        seen: its first bytes, where they may be text that somebody else wrote.
    """

    def __init__(self, sentence: str, seen: bytes = b"") -> None:
        super().__init__(sentence)
        self.seen = seen


class CutShortError(FrameError):
    """The other side ended in the middle of a frame."""


def frame_parts(message: Message, blobs: Sequence[bytes] = ()) -> Iterator[bytes]:
    """Give the pieces of a frame in their order; blobs are not copied.

    Raises:
        ValueError: the message holds what JSON has no word for, such as NaN.
    """
    header = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}, allow_nan=False).encode()
    yield PREFIX.pack(MARK, len(header)) + header
    yield from blobs


def read_frame(read: Callable[[int], bytes], limits: Limits) -> tuple[Message, list[bytes]]:
    """Take one frame from a stream.

    Args:
        read: gives as many bytes as asked for, and fewer only at the end.
        limits: of the frame.

    Raises:
        EOFError: the stream ended before the frame.
        CutShortError: it ended within.
        FrameError: it is no frame, or too large.
    """
    first = read(1)  # no text begins like this: who greets in few words is found out, too
    if not first:
        raise EOFError
    prefix = first + (_whole(read, PREFIX.size - 1) if first == MARK[:1] else b"")
    if not prefix.startswith(MARK):
        raise FrameError("it does not begin like a frame", prefix)
    size = PREFIX.unpack(prefix)[1]
    _require(size <= limits.header_bytes, f"its header of {size} bytes is over the limit of {limits.header_bytes}")
    message = _decoded(_whole(read, size))
    sizes = message.pop("blobs", None)
    _require(_are_sizes(sizes), "its header does not say how long its blobs are")
    _require(len(sizes) <= limits.blobs, f"its {len(sizes)} blobs are over the limit of {limits.blobs}")
    _require(sum(sizes) <= limits.blob_bytes, f"its {sum(sizes)} bytes of blobs are over {limits.blob_bytes}")
    return message, [_whole(read, size) for size in sizes]


def _whole(read: Callable[[int], bytes], count: int) -> bytes:
    data = read(count)
    if len(data) < count:
        raise CutShortError("it ends within a frame")
    return data


def _decoded(header: bytes) -> Message:
    try:
        message = json.loads(header.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"its header is no JSON ({' '.join(str(error).split())[:80]})") from error
    _require(isinstance(message, dict), "its header is no JSON object")
    return dict(message)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _are_sizes(sizes: Any) -> bool:  # Any: decoded JSON
    return isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise FrameError(sentence)
