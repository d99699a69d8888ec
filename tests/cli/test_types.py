"""Option values: what is read, what is refused."""

from __future__ import annotations

import pytest

from deploycompress.cli.types import parse_duration, parse_shape


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("1h1m1s", 3661), ("0.5h", 1800)]
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "0s", "15 minutes", "1m1h", "-5m", "1e3s", "infs", "15m extra"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 15m or 1h30m"):
        parse_duration(text)


def test_shapes_are_read_axis_by_axis() -> None:
    assert parse_shape("1,3,32, 32") == (1, 3, 32, 32)


@pytest.mark.parametrize("text", ["", "3", "1,3,0,32", "1,3,-1,32", "1,3,a", "1x3x32x32", "1,,3", "1,²"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 1,3,32,32"):
        parse_shape(text)
