"""What calibration refuses before and while it measures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from deploycompress.capturing.capture import capture
from deploycompress.errors import MeasureError, ModelError, UsageError
from deploycompress.graph import Graph
from deploycompress.pipeline import calibrate as story
from deploycompress.pipeline.calibrate import calibrate
from deploycompress.precision import Precision
from deploycompress.profile import Device, Measure, Profile, Runtime
from deploycompress.profile_precision import Arithmetic
from deploycompress.quantize.costed import costed_form
from deploycompress.report.progress import SilentProgress
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


class Heard(SilentProgress):
    """Remembers the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def heard(graph: Graph, precision: Precision, profile: Profile, cache: Path) -> list[str]:
    """Begin a calibration, and give what it warned of before its budget was over."""
    listener = Heard()
    with pytest.raises(UsageError, match="budget of 1 s is too small"):
        calibrate(graph, profile, precision=precision, budget_s=1.0, cache=cache, progress=listener)
    return listener.warnings


def test_a_precision_that_is_not_native_is_measured_with_a_warning(tmp_path: Path) -> None:
    [warning] = heard(depthwise_net(), Precision.INT8, PROFILE, tmp_path)
    assert "does not list int8 among what its device computes in by itself (fp32)" in warning
    native = PROFILE.model_copy(update={"precision": Arithmetic(native=("fp32", "int8"))})
    assert heard(depthwise_net(), Precision.INT8, native, tmp_path) == []
    assert heard(depthwise_net(), Precision.FP32, PROFILE, tmp_path) == []


def test_layers_that_stay_in_single_precision_are_named(tmp_path: Path) -> None:
    native = PROFILE.model_copy(update={"precision": Arithmetic(native=("fp32", "int8"))})
    net = start(0)
    graph = net.finish(net.transposed(net.conv("x", 16), 8), input_shape=(3, 8, 8))
    [warning] = heard(graph, Precision.INT8, native, tmp_path)
    assert "1 of the model's nodes stay in single precision" in warning
    assert "ConvTranspose has no 8-bit kernel" in warning


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_a_quantised_model_is_refused(tmp_path: Path, precision: Precision) -> None:
    costed_form(depthwise_net(), Precision.INT8, PROFILE.precision.int8).save(tmp_path / "done.onnx")
    with pytest.raises(ModelError, match="quantised already"):
        calibrate(capture(tmp_path / "done.onnx"), PROFILE, precision=precision, cache=tmp_path / "cache")


def test_a_precision_that_the_device_does_not_load_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_world(shipped: Graph, *_: object) -> Graph:
        nodes = tuple(replace(node, op=f"{node.op}4") if node.op == "Conv" else node for node in shipped.nodes)
        return replace(shipped, nodes=nodes)

    monkeypatch.setattr(story, "costed_form", of_another_world)
    with pytest.raises(
        MeasureError, match=r"does not load the model in int8 with CPU.*Conv4.*\[precision\] of .*'here'"
    ):
        calibrate(depthwise_net(), PROFILE, precision=Precision.INT8, cache=tmp_path)


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
