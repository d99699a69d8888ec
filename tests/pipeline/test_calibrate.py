"""What calibration refuses before and while it measures."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploycompress.errors import MeasureError, ModelError, UsageError
from deploycompress.pipeline.calibrate import calibrate
from deploycompress.profile import Device, Measure, Profile, Runtime
from tests.build import start
from tests.calibration.networks import depthwise_net, wide_net

PROFILE = Profile.model_validate(
    {
        "name": "here",
        "schema": 1,
        "device": Device(title="here", arch="x86_64"),
        "runtime": Runtime(providers=("CPUExecutionProvider",)),
        "measure": Measure(warmup_seconds=0.01),
    }
)


def test_a_budget_that_is_too_small_says_what_it_would_need_and_stops_early(tmp_path: Path) -> None:
    before_s = time.monotonic()
    with pytest.raises(UsageError, match=r"budget of 2 s is too small: .* give at least \d+ s"):
        calibrate(depthwise_net(), PROFILE, budget_s=2.0, cache=tmp_path)
    assert time.monotonic() - before_s < 60
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_channel_to_cut_is_refused(tmp_path: Path) -> None:
    net = start(0)
    graph = net.finish(net.conv("x", 4), input_shape=(3, 8, 8))
    with pytest.raises(ModelError, match="No channel of the model can be cut"):
        calibrate(graph, PROFILE, cache=tmp_path)


def test_another_machine_is_refused_before_anything_is_calibrated(tmp_path: Path) -> None:
    elsewhere = PROFILE.model_copy(update={"device": Device(title="another", arch="riscv64")})
    with pytest.raises(MeasureError, match=r"not the device of profile 'here' \(another\).*--allow-proxy"):
        calibrate(depthwise_net(), elsewhere, budget_s=2.0, cache=tmp_path)
    with pytest.raises(UsageError, match="budget of 2 s is too small"):
        calibrate(depthwise_net(), elsewhere, budget_s=2.0, cache=tmp_path, allow_proxy=True)


def test_a_board_that_cannot_be_reached_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"127\.0\.0\.1"):
        calibrate(wide_net(), PROFILE, target=("ssh://nobody@127.0.0.1:1",), cache=tmp_path)


def test_a_runtime_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    profile = PROFILE.model_copy(update={"runtime": Runtime(providers=("CUDAExecutionProvider",))})
    with pytest.raises(MeasureError, match="CUDAExecutionProvider"):
        calibrate(wide_net(), profile, cache=tmp_path)
