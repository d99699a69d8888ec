"""Measuring in a real child process: what comes back, and what happens when the child dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import onnx
import pytest

from deploycompress.errors import MeasureError, MissingShapeError, ModelError, UsageError
from deploycompress.evaluation import Evidence
from deploycompress.graph import graph_from_onnx
from deploycompress.measuring import FailedMeasurementError, FailureKind, Measurement, Meter, measure
from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.interval import quantile_interval
from deploycompress.measuring.model import MeasurableModel
from deploycompress.measuring.starts import SESSIONS
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from tests.measuring.networks import conv_net, endless_net, heavy_weights_net, huge_net

GIB = 2**30
Ask = Callable[..., Message]


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile(Path(__file__).parents[2] / "profiles" / "x86.toml")


@pytest.fixture(scope="module")
def meter(profile: Profile) -> Iterator[Meter]:
    with Meter(profile) as shared:
        yield shared


def hurried(profile: Profile, seconds: float) -> Profile:
    limits = profile.measure.model_copy(update={"max_seconds": seconds})
    return profile.model_copy(update={"measure": limits})


def with_providers(profile: Profile, *providers: str) -> Profile:
    return profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"providers": providers})})


def test_a_wider_network_is_slower_than_its_baseline(meter: Meter) -> None:
    found = meter.measure(conv_net(64), baseline=conv_net(16), max_seconds=0)
    assert found.ratio > 2
    assert found.ratio_interval().low > 1


def test_a_network_is_as_fast_as_itself(meter: Meter) -> None:
    model = conv_net(48)
    assert meter.measure(model, baseline=model, max_seconds=0.5).ratio == pytest.approx(1, abs=0.15)


def test_student_and_baseline_have_64_samples_in_paired_rounds(meter: Meter) -> None:
    found = meter.measure(conv_net(), baseline=conv_net(32), max_seconds=0)
    assert min(len(found.samples_ns), len(found.baseline_samples_ns)) >= 64
    assert len(found.student_ns) == len(found.baseline_ns) >= 8


def test_more_samples_are_taken_when_asked_for(meter: Meter) -> None:
    assert len(meter.measure(conv_net(), max_seconds=0, min_samples=5000).samples_ns) >= 5000


def test_fewer_than_64_samples_are_refused(meter: Meter) -> None:
    with pytest.raises(MeasureError, match="min_samples is 63"):
        meter.measure(conv_net(), min_samples=63)


def test_every_number_carries_its_conditions(meter: Meter, profile: Profile) -> None:
    found = meter.measure(conv_net(), max_seconds=0)
    assert found.conditions.profile == "x86"
    assert found.conditions.profile_digest == profile.digest()
    assert found.conditions.providers == ("CPUExecutionProvider",)
    assert found.conditions.machine.arch == os.uname().machine
    assert found.conditions.onnxruntime[0].isdigit()
    assert sum(found.placement.values()) == found.placement["CPUExecutionProvider"] > 0


def test_a_profile_of_another_board_gives_proxy_evidence(profile: Profile) -> None:
    elsewhere = profile.model_copy(update={"device": profile.device.model_copy(update={"board": "No Such Board"})})
    with Meter(elsewhere) as meter:
        assert meter.measure(conv_net(), max_seconds=0).evidence is Evidence.PROXY


def test_graph_bytes_and_file_are_the_same_model(meter: Meter, tmp_path: Path) -> None:
    graph = graph_from_onnx(onnx.load_model_from_string(conv_net()))
    path = tmp_path / "model.onnx"
    graph.save(path)
    digests = {meter.measure(model, max_seconds=0).model for model in (graph, graph.to_bytes(), path)}
    assert digests == {graph.digest()}


def test_the_thorough_measurement_has_every_metric(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conv_net())
    metrics = measure(path, hurried(profile, 1.0), baseline=conv_net(32)).metrics()
    measured = {"latency_ms", "latency_ratio", "activation_peak_mib", "peak_rss_mib"}
    assert set(metrics) == measured | {"weights_mib", "file_mib"}
    assert metrics["file_mib"] == path.stat().st_size / 2**20
    assert metrics["weights_mib"] == 3 * 16 * 16 * 9 * 4 / 2**20


def test_peak_rss_grows_by_the_weights(meter: Meter) -> None:
    mebibytes = 48
    grown = meter.peak_rss_bytes(heavy_weights_net(mebibytes)) - meter.peak_rss_bytes(conv_net())
    assert grown > 0.8 * mebibytes * 2**20


def test_a_missing_provider_is_an_error_and_not_a_fallback(profile: Profile) -> None:
    wanted = with_providers(profile, "CUDAExecutionProvider", "CPUExecutionProvider")
    with Meter(wanted) as meter, pytest.raises(MeasureError, match="asks for CUDAExecutionProvider") as caught:
        meter.measure(conv_net())
    assert not isinstance(caught.value, FailedMeasurementError)
    assert caught.value.exit_code == 4


def test_a_provider_that_takes_no_node_is_an_error(profile: Profile) -> None:
    wanted = with_providers(profile, "AzureExecutionProvider", "CPUExecutionProvider")
    with Meter(wanted) as meter, pytest.raises(MeasureError, match="fell back"):
        meter.measure(conv_net())


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_replaced_and_asked_again(profile: Profile, end: signal.Signals) -> None:
    with Meter(profile) as meter:
        meter.measure(conv_net(), max_seconds=0)
        victim = meter.child_pid
        assert victim is not None
        killer = threading.Timer(0.3, os.kill, (victim, end))
        killer.start()
        found = meter.measure(conv_net(), baseline=conv_net(32), max_seconds=1, min_samples=4_000)
        killer.join()
        assert len(found.samples_ns) >= 4_000
        assert meter.child_pid not in (None, victim)


def test_a_model_whose_child_dies_twice_costs_one_measurement_only(profile: Profile) -> None:
    with Meter(profile) as meter:
        meter.measure(conv_net(), max_seconds=0)
        ended: set[int] = set()
        is_over = threading.Event()

        def kill_whatever_runs() -> None:
            while not is_over.wait(0.3):
                pid = meter.child_pid
                if pid is not None and pid not in ended and len(ended) < 2:
                    os.kill(pid, signal.SIGKILL)
                    ended.add(pid)

        killer = threading.Thread(target=kill_whatever_runs)
        killer.start()
        try:
            with pytest.raises(FailedMeasurementError, match="SIGKILL") as caught:
                meter.measure(conv_net(), max_seconds=60, min_samples=1_000_000)
        finally:
            is_over.set()
            killer.join()
        assert caught.value.kind is FailureKind.CRASH
        assert len(ended) == 2
        assert meter.measure(conv_net(), baseline=conv_net(), max_seconds=0).baseline_ns


def test_a_child_that_hangs_is_ended_and_replaced(profile: Profile) -> None:
    with Meter(hurried(profile, 0.5), grace_seconds=1.5) as meter:
        meter.measure(conv_net(), max_seconds=0)
        victim = meter.child_pid
        assert victim is not None
        begin = time.monotonic()
        with pytest.raises(FailedMeasurementError, match="no answer") as caught:
            meter.measure(endless_net())
        assert caught.value.kind is FailureKind.HANG
        assert time.monotonic() - begin < 10
        with pytest.raises(ProcessLookupError):
            os.kill(victim, 0)
        assert meter.measure(conv_net(), max_seconds=0).samples_ns


def test_a_model_that_needs_too_much_memory_costs_one_measurement_only(profile: Profile) -> None:
    with Meter(profile, memory_limit_bytes=3 * GIB) as meter:
        with pytest.raises(FailedMeasurementError, match="memory") as caught:
            meter.measure(huge_net(4))
        assert caught.value.kind is FailureKind.MEMORY
        assert meter.measure(conv_net(), max_seconds=0).samples_ns


def test_a_model_too_slow_for_the_time_is_inconclusive(profile: Profile) -> None:
    with Meter(hurried(profile, 0.5)) as meter:
        with pytest.raises(FailedMeasurementError, match=r"Only \d+ of 1000000 samples") as caught:
            meter.measure(conv_net(), min_samples=1_000_000)
        assert caught.value.kind is FailureKind.INCONCLUSIVE
        assert meter.measure(conv_net(8, 1, 4), max_seconds=0, min_samples=64).samples_ns


def test_a_model_that_onnx_runtime_refuses_is_rejected_alone(meter: Meter) -> None:
    broken = onnx.load_model_from_string(conv_net())
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(FailedMeasurementError, match="NoSuchOperator") as caught:
        meter.measure(broken.SerializeToString())
    assert caught.value.kind is FailureKind.REJECTED
    assert meter.measure(conv_net(), max_seconds=0).samples_ns


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (conv_net(opset=18), "opset 18"),
        (conv_net(ir_version=9), "IR version 9"),
        (b"no protobuf at all", "Not an ONNX model"),
        (Path("no/such/file.onnx"), "cannot be read"),
    ],
)
def test_a_model_unfit_for_the_profile_is_refused(meter: Meter, model: bytes | Path, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        meter.measure(model)


def open_net(*axes: int) -> bytes:
    model = onnx.load_model_from_string(conv_net())
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in axes:
            value.type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    return bytes(model.SerializeToString())


def test_an_open_axis_beside_the_batch_needs_a_shape(meter: Meter) -> None:
    with pytest.raises(MissingShapeError, match=r"Axis 2 \('side2'\).*--input-shape"):
        meter.measure(open_net(2, 3))
    small, large = (meter.measure(open_net(2, 3), max_seconds=0, input_shape=(1, 16, side, side)) for side in (8, 64))
    assert large.median_ms > 10 * small.median_ms
    assert large.activation_peak_bytes > 10 * small.activation_peak_bytes
    assert small.model != large.model
    with pytest.raises(UsageError, match="does not fit"):
        meter.measure(open_net(2, 3), input_shape=(1, 3, 8, 8))


def test_models_that_take_turns_are_all_compared_with_the_first(meter: Meter) -> None:
    models = [conv_net(32), conv_net(64), conv_net(32)]
    first, wide, twin = meter.measure_together(models, max_seconds=0.5)
    assert (first.baseline, first.baseline_ns) == ("", ())
    assert wide.baseline == twin.baseline == first.model == twin.model
    assert wide.baseline_ns == twin.baseline_ns == first.student_ns
    assert wide.ratio > 2
    assert twin.ratio == pytest.approx(1, abs=0.15)


def test_no_models_are_refused(meter: Meter) -> None:
    with pytest.raises(MeasureError, match="no model"):
        meter.measure_together([])


def test_each_start_is_a_process_of_its_own(meter: Meter) -> None:
    meter.measure(conv_net(), max_seconds=0)
    running = meter.child_pid
    found = meter.measure(conv_net(64), baseline=conv_net(16), max_seconds=0, starts=6)
    assert meter.child_pid == running
    assert 6 <= len(found.starts) <= 12
    assert len(found.states) == 2 * len(found.starts)
    assert len(set(found.start_ratios)) == len(found.start_ratios) >= 6
    interval = found.ratio_interval()
    assert interval == quantile_interval(found.start_ratios, 0.5, found.conditions.confidence)
    assert 2 < interval.low <= found.ratio <= interval.high


def slowed(real: Ask, asked: list[Message], slow: int) -> Ask:
    """Ask a real process, and say of the first so many that everything took four times as long."""

    def ask(request: Message, *models: MeasurableModel, timeout_seconds: float) -> Message:
        reply = real(request, *models, timeout_seconds=timeout_seconds)
        asked.append(request)
        factor = 4 if len(asked) <= slow else 1
        rounds = [[[factor * one for one in block] for block in of_model] for of_model in reply["rounds"]]
        return {**reply, "rounds": rounds}

    return ask


@pytest.mark.parametrize(("slow", "least"), [(0, 6), (2, 8), (12, 6)])
def test_processes_that_find_the_machine_disturbed_are_followed_by_others(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, slow: int, least: int
) -> None:
    asked: list[Message] = []
    with Meter(profile) as own:
        monkeypatch.setattr(own.board, "ask_fresh", slowed(own.board.ask_fresh, asked, slow))
        found = own.measure(conv_net(64), baseline=conv_net(16), max_seconds=0, starts=6)
    assert least <= len(found.starts) == len(asked) <= 12
    assert found.slow_starts >= slow * (slow < 12)
    assert found.ratio > 2


def test_a_machine_that_is_disturbed_all_the_time_is_noticed_by_what_was_measured_before(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Message] = []
    with Meter(profile) as own:
        own.measure(conv_net(64), baseline=conv_net(16), max_seconds=0)
        monkeypatch.setattr(own.board, "ask_fresh", slowed(own.board.ask_fresh, asked, 12))
        found = own.measure(conv_net(64), baseline=conv_net(16), max_seconds=0, starts=6)
    assert len(found.starts) == len(asked) == 12
    assert len(found.counted_starts) >= 6


def test_a_model_alone_has_as_many_processes_as_were_asked_for(meter: Meter) -> None:
    assert len(meter.measure(conv_net(), max_seconds=0, starts=2).starts) == 2


@pytest.mark.parametrize("starts", [0, -1, 1001])
def test_a_number_of_starts_that_makes_no_sense_is_refused(meter: Meter, starts: int) -> None:
    with pytest.raises(MeasureError, match=f"starts is {starts}"):
        meter.measure(conv_net(), starts=starts)


def test_what_else_is_told_of_a_model(meter: Meter) -> None:
    model = conv_net()
    found = meter.measure(model, max_seconds=0)
    assert found.file_bytes == len(model)
    assert found.first_run_ns > 0
    assert 0 < found.load_seconds < 10
    assert found.states[0].load_average is not None
    assert Measurement.from_json(found.to_json()) == found


def test_models_of_before_leave_no_memory_behind(profile: Profile) -> None:
    with Meter(profile) as meter:
        sizes = []
        for _ in range(9):
            meter.measure(heavy_weights_net(8), max_seconds=0)
            sizes.append(resident_bytes(meter.child_pid))
    # What the allocator holds comes and goes; nine models that stayed would be 72 MiB.
    assert max(sizes) - min(sizes) < 32 * 2**20


def resident_bytes(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def test_the_process_ends_with_the_meter(profile: Profile) -> None:
    with Meter(profile) as meter:
        meter.measure(conv_net(), max_seconds=0)
        pid = meter.child_pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class WaitingMeter(Meter):
    """Tells how long it would wait for each answer."""

    def __init__(self, profile: Profile, grace_seconds: float | None = None) -> None:
        super().__init__(profile, grace_seconds=grace_seconds)
        self.timeouts: list[float] = []
        for name in ("ask", "ask_fresh"):
            setattr(self.board, name, partial(self._heard, getattr(self.board, name)))

    def _heard(self, ask: Callable[..., Message], request: Message, *models: bytes, timeout_seconds: float) -> Message:
        if request["command"] == "latency":
            self.timeouts.append(timeout_seconds)
        return ask(request, *models, timeout_seconds=timeout_seconds)


@pytest.mark.parametrize(("starts", "loads"), [(1, 1), (2, SESSIONS)])
def test_loading_has_the_profiles_time_as_often_as_models_are_loaded(profile: Profile, starts: int, loads: int) -> None:
    limits = profile.measure.model_copy(update={"load_seconds": 77.0})
    with WaitingMeter(profile.model_copy(update={"measure": limits})) as meter:
        meter.measure_together([conv_net(8), conv_net(16)], max_seconds=0, starts=starts)
        assert meter.timeouts == [limits.max_seconds / starts + 77.0 * loads] * starts
    with WaitingMeter(hurried(profile, 1.0), grace_seconds=30.0) as meter:
        meter.measure(conv_net(8), max_seconds=4.0, starts=starts)
        assert meter.timeouts == [4.0 / starts + 30.0 * loads] * starts
