"""A comparison in a few lines."""

from __future__ import annotations

from deploycompress.report.comparison import render_comparison


def test_ratio_interval_and_medians_are_told() -> None:
    text = render_comparison(
        {
            "words": "b is 2 times as fast as a.",
            "ratio": 0.5,
            "interval": [0.48, 0.53],
            "confidence": 0.95,
            "first_median_ms": 4.0,
            "second_median_ms": 2.0,
            "samples": 640,
            "starts": 6,
            "profile": "x86",
            "evidence": "measured",
            "remarks": ["something else was computing"],
        }
    )
    assert text.splitlines() == [
        "b is 2 times as fast as a.",
        "ratio 0.5000, 95 % interval 0.48 to 0.53",
        "medians 4 ms and 2 ms, 640 samples each in 6 starts, profile x86 (measured)",
        "note: something else was computing",
    ]
