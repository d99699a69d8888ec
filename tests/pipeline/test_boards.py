"""All of a piece of work is done by one board, by the next one where the first is lost."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.reach.failures import DeviceError
from deploycompress.pipeline.boards import on_first_board
from deploycompress.profile_files import load_profile
from deploycompress.report.progress import SilentProgress
from tests.build import residual_net

DEAD = "exec:false {bootstrap}"


class Listener(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def measure(meter: Meter) -> int:
    return len(meter.measure(residual_net(), max_seconds=0.0).samples_ns)


def test_the_next_board_measures_when_one_cannot_be_reached() -> None:
    listener = Listener()
    assert on_first_board(load_profile("x86"), (DEAD, DEAD, "local"), measure, listener) >= 64
    assert len(listener.warnings) == 2
    assert "Trying the next board." in listener.warnings[0]


def test_the_last_board_speaks_for_itself() -> None:
    listener = Listener()
    with pytest.raises(DeviceError) as caught:
        on_first_board(load_profile("x86"), (DEAD, DEAD), measure, listener)
    assert caught.value.exit_code == 4
    assert len(listener.warnings) == 1


def test_a_model_that_fails_is_not_tried_elsewhere() -> None:
    listener = Listener()

    def fail(_: Meter) -> None:
        raise FailedMeasurementError(FailureKind.REJECTED, "the model is no good")

    with pytest.raises(FailedMeasurementError, match="no good"):
        on_first_board(load_profile("x86"), ("local", "local"), fail, listener)
    assert listener.warnings == []


def test_a_text_that_is_no_target_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="moon"):
        on_first_board(load_profile("x86"), ("local", "moon"), measure, Listener())
