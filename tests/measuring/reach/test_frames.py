"""Frames: what goes in comes out, and nothing else does."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.measuring.agent.frames import (
    MARK,
    PREFIX,
    CutShortError,
    FrameError,
    Limits,
    Message,
    frame_parts,
    read_frame,
)

LIMITS = Limits(header_bytes=10_000, blobs=4, blob_bytes=1000)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def frame_of(message: Message, blobs: tuple[bytes, ...] = ()) -> bytes:
    return b"".join(frame_parts(message, blobs))


def frame_with_header(header: bytes) -> bytes:
    return PREFIX.pack(MARK, len(header)) + header


@given(
    message=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "blobs"), VALUES, max_size=4),
    blobs=st.lists(st.binary(max_size=100), max_size=4),
)
def test_a_frame_gives_back_what_was_put_in(message: Message, blobs: list[bytes]) -> None:
    stream = io.BytesIO(frame_of(message, tuple(blobs)) * 2)
    assert [read_frame(stream.read, LIMITS) for _ in range(2)] == [(message, blobs)] * 2
    with pytest.raises(EOFError):
        read_frame(stream.read, LIMITS)


@given(data=st.data())
def test_a_frame_that_ends_early_is_said_to(data: st.DataObject) -> None:
    whole = frame_of({"command": "hello"}, (b"abc", b"defg"))
    part = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(CutShortError):
        read_frame(io.BytesIO(part).read, LIMITS)


@given(noise=st.binary(min_size=1, max_size=200))
def test_noise_is_a_typed_error_or_an_end(noise: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(noise).read, LIMITS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Welcome to the board!\n", "does not begin like a frame"),
        (b"ok\n", "does not begin like a frame"),
        (PREFIX.pack(MARK, 10_001), "10001 bytes is over the limit"),
        (frame_with_header(b"{not json"), "no JSON"),
        (frame_with_header(b"\xff\xfe"), "no JSON"),
        (frame_with_header(b"[" * 9000), "no JSON"),
        (frame_with_header(b'{"latency": NaN, "blobs": []}'), "NaN is no number"),
        (frame_with_header(b'{"latency": -Infinity, "blobs": []}'), "-Infinity is no number"),
        (frame_with_header(b"[1, 2]"), "no JSON object"),
        (frame_with_header(b"{}"), "how long its blobs are"),
        (frame_with_header(b'{"blobs": [-1]}'), "how long its blobs are"),
        (frame_with_header(b'{"blobs": [true]}'), "how long its blobs are"),
        (frame_with_header(b'{"blobs": [1, 1, 1, 1, 1]}'), "5 blobs are over the limit of 4"),
        (frame_with_header(b'{"blobs": [600, 600]}'), "1200 bytes of blobs are over 1000"),
    ],
)
def test_what_is_no_frame_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        read_frame(io.BytesIO(data).read, LIMITS)


def test_a_message_that_json_has_no_word_for_is_not_sent() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        frame_of({"value": float("nan")})


def test_the_header_is_plain_json_with_the_lengths_of_the_blobs() -> None:
    data = frame_of({"command": "x"}, (b"ab", b""))
    size = int.from_bytes(data[4:8], "big")
    assert json.loads(data[8 : 8 + size]) == {"command": "x", "blobs": [2, 0]}
    assert data[8 + size :] == b"ab"
