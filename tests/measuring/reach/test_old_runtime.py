"""An agent with what a JetPack 5 device has: Python 3.8 and ONNX Runtime 1.19.2. Needs that Python, and pip once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploycompress.graph import graph_from_onnx
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.failures import UnfitDeviceError
from deploycompress.measuring.reach.target import Target, parse_target
from deploycompress.profile import Profile
from tests.measuring.networks import conv_net

onnx = pytest.importorskip("onnx")

PYTHON_VARIABLE = "DEPLOYCOMPRESS_TEST_PYTHON38"
ONNXRUNTIME = "1.19.2"

pytestmark = pytest.mark.slow


def python38() -> str:
    found = [os.environ.get(PYTHON_VARIABLE), *map(str, Path.home().glob(".pyenv/versions/3.8.*/bin/python"))]
    for candidate in (*found, shutil.which("python3.8")):
        if candidate and subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return candidate
    pytest.skip(f"no Python 3.8: not in {PYTHON_VARIABLE}, not with pyenv, not on PATH")


@pytest.fixture(scope="module")
def old_device(tmp_path_factory: pytest.TempPathFactory) -> Target:
    home = tmp_path_factory.mktemp("python38")
    python = str(home / "bin" / "python")
    subprocess.run([python38(), "-m", "venv", str(home)], check=True, capture_output=True)
    install = [python, "-m", "pip", "install", "--quiet", f"onnxruntime=={ONNXRUNTIME}"]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"onnxruntime {ONNXRUNTIME} cannot be had here: {done.stderr[-300:]}")
    return parse_target(f"exec:{python} -I -c {{bootstrap}}")


@pytest.fixture(scope="module")
def lenient(profile: Profile) -> Profile:
    """Give a profile that leaves it to the device which models it loads."""
    changes = {"min_onnxruntime": "1.15", "max_opset": 26, "max_ir": 13}
    return profile.model_copy(update={"runtime": profile.runtime.model_copy(update=changes)})


def test_the_agent_runs_on_python_3_8(old_device: Target) -> None:
    process = MeasuringProcess(old_device)
    assert process.about["onnxruntime"] == ONNXRUNTIME
    assert process.about["python"].startswith("3.8.")
    process.close()


def test_everything_is_measured_there(old_device: Target, lenient: Profile) -> None:
    with Meter(lenient, target=old_device) as meter:
        found = meter.measure(conv_net(32), baseline=conv_net(8), max_seconds=0.5)
        assert found.ratio > 1
        assert found.conditions.onnxruntime == ONNXRUNTIME
        assert meter.measure(conv_net(16), max_seconds=0, starts=2).starts
        graph = graph_from_onnx(onnx.load_model_from_string(conv_net()))
        assert sum(meter.node_times(graph).shares.values()) == pytest.approx(1, abs=0.2)
        assert meter.peak_rss_bytes(conv_net()) >= 0


@pytest.mark.parametrize(("opset", "ir_version"), [(23, 10), (17, 11)])
def test_a_model_too_new_for_it_costs_itself_only(
    old_device: Target, lenient: Profile, opset: int, ir_version: int
) -> None:
    with Meter(lenient, target=old_device) as meter:
        words = rf"ONNX Runtime {ONNXRUNTIME} of the device is too old for this model: export it with a lower opset"
        with pytest.raises(FailedMeasurementError, match=words) as caught:
            meter.measure(conv_net(opset=opset, ir_version=ir_version), max_seconds=0)
        assert caught.value.kind is FailureKind.REJECTED
        assert meter.measure(conv_net(), max_seconds=0).samples_ns


def test_a_profile_that_needs_a_newer_one_is_told(old_device: Target, profile: Profile) -> None:
    newer = profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"min_onnxruntime": "1.23"})})
    with (
        Meter(newer, target=old_device) as meter,
        pytest.raises(UnfitDeviceError, match=rf"ONNX Runtime on exec:.* is {ONNXRUNTIME}, profile 'x86' needs 1.23"),
    ):
        meter.measure(conv_net())
