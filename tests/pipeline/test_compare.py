"""What a ratio and its interval say of two models."""

from __future__ import annotations

import math

import pytest

from deploycompress.measuring.interval import Interval
from deploycompress.pipeline.compare import in_words, is_different


@pytest.mark.parametrize(
    ("low", "high", "different"),
    [
        (0.9, 0.99, True),
        (1.01, 1.2, True),
        (0.9, 1.1, False),
        (1.0, 1.1, False),
        (0.9, 1.0, False),
        (-math.inf, 0.9, True),
        (-math.inf, math.inf, False),
    ],
)
def test_models_differ_when_the_interval_leaves_out_one(low: float, high: float, different: bool) -> None:
    interval = Interval(low=low, high=high)
    assert is_different(interval) is different
    assert in_words("a", "b", 1.0, interval).startswith("No difference shown") is not different


def test_words_say_how_much_and_in_which_direction() -> None:
    faster, slower = Interval(low=0.4, high=0.6), Interval(low=1.9, high=2.1)
    assert in_words("a", "b", 0.5, faster) == "b is 2 times as fast as a."
    assert in_words("a", "b", 2.0, slower) == "b takes 2 times as long as a."
