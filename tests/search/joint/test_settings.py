"""Settings that make no sense are refused by name."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.search.joint import Settings

WRONG: list[tuple[str, float]] = [
    ("rollouts", 0),
    ("epochs", 0),
    ("exchanges", -1),
    ("elite", 0),
    ("singles_share", 1.1),
    ("singles_weight", -0.5),
    ("survey_share", 1.5),
    ("baseline_decay", -0.1),
    ("local_share", 2),
    ("sensitivity_weight", -1),
    ("boldness", float("nan")),
    ("last_boldness", float("inf")),
    ("trust", -1),
    ("temperature", 0),
    ("learning_rate", float("nan")),
    ("clip", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name!r} is {value}"):
        Settings(**{name: value})  # type: ignore[arg-type]  # of either kind
