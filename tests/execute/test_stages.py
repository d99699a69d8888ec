"""Time adds up by stage, also when a stage fails."""

from __future__ import annotations

import pytest

from deploycompress.execute.stages import StageTimer


def test_stages_add_up() -> None:
    timer = StageTimer()
    timer.add("measure", 1.5)
    timer.add("measure", 0.5)
    timer.add("slim", 0.25)
    assert timer.seconds == {"measure": 2.0, "slim": 0.25}


def test_failed_stage_is_counted() -> None:
    timer = StageTimer()
    with pytest.raises(KeyError), timer.stage("measure"):
        raise KeyError
    assert timer.seconds["measure"] > 0
