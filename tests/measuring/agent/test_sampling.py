"""Sampling real models while the files of a machine change under it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploycompress.measuring.agent.latency import LatencyBench
from deploycompress.measuring.agent.refusal import RefusedError
from deploycompress.measuring.agent.sampling import warm_up
from deploycompress.measuring.agent.session import Runner
from deploycompress.measuring.agent.state import State, StateReader
from tests.measuring.agent.machine_files import CPUS, put, put_frequency
from tests.measuring.networks import conv_net

USUAL = 2_000_000
SETUP = {
    "providers": ["CPUExecutionProvider"],
    "provider_options": {},
    "threads": 1,
    "graph_optimization": "all",
    "session": {},
    "batch_axes": ["N"],
    "seed": 0,
}


def request(*models: bytes, **changes: Any) -> dict[str, Any]:  # Any: JSON
    return {
        "models": [hashlib.sha256(model).hexdigest() for model in models],
        "setups": [SETUP for _ in models],
        "kept": [],
        "sessions": 1,
        "reference": 0,
        "warmup_seconds": 0.0,
        "warmup_limit_seconds": 0.1,
        "min_samples": 64,
        "min_rounds": 8,
        "enough_seconds": 0.0,
        "max_seconds": 60.0,
        "precision": 0.01,
        "confidence": 0.95,
        **changes,
    }


class ChangingMachine(StateReader):
    """Reads real files, which change before certain readings: two precede the first round."""

    def __init__(self, root: Path, changes: dict[int, Callable[[], object]]) -> None:
        super().__init__(root, search_path="")
        self._changes = changes
        self._readings = 0

    def read(self) -> State:
        self._readings += 1
        self._changes.get(self._readings, lambda: None)()
        return super().read()


def bench(root: Path) -> LatencyBench:
    put_frequency(root, USUAL)
    return LatencyBench(StateReader(root, search_path=""))


def test_every_model_has_as_many_rounds_and_samples_of_its_own(tmp_path: Path) -> None:
    models = (conv_net(32), conv_net(8), conv_net(16))
    reply = bench(tmp_path).latency(request(*models), list(models))
    assert len({len(rounds) for rounds in reply["rounds"]}) == 1
    assert all(len({len(block) for block in rounds}) == 1 for rounds in reply["rounds"])
    assert all(sum(map(len, rounds)) >= 64 for rounds in reply["rounds"])
    medians = [sorted(block[len(block) // 2] for block in rounds) for rounds in reply["rounds"]]
    assert medians[0][0] > medians[1][0]
    assert all(model["first_run_ns"] > 0 and model["load_seconds"] > 0 for model in reply["models"])


def test_sessions_share_what_is_asked(tmp_path: Path) -> None:
    models = (conv_net(16), conv_net(8))
    whole = bench(tmp_path).latency(request(*models, enough_seconds=0.8, precision=1e-9), list(models))
    shared = bench(tmp_path).latency(request(*models, enough_seconds=0.8, precision=1e-9, sessions=4), list(models))
    counts = [len(reply["rounds"][0]) for reply in (whole, shared)]
    assert counts[0] / 2 < counts[1] < 2 * counts[0]
    assert len(shared["models"]) == 2


def test_a_quiet_machine_has_nothing_redone(tmp_path: Path) -> None:
    model = conv_net()
    reply = bench(tmp_path).latency(request(model), [model])
    assert reply["redone_rounds"] == 0
    assert [state["frequency_khz"] for state in reply["states"]] == [USUAL, USUAL]


def test_rounds_with_a_low_clock_are_taken_again(tmp_path: Path) -> None:
    model = conv_net()
    put_frequency(tmp_path, USUAL)
    low, usual = (partial(put_frequency, tmp_path, khz) for khz in (USUAL // 2, USUAL))
    timing = LatencyBench(ChangingMachine(tmp_path, {5: low, 7: usual}))
    reply = timing.latency(request(model, enough_seconds=0.5, precision=1e-9), [model])
    assert reply["redone_rounds"] > 0
    quiet = bench(tmp_path).latency(request(model, enough_seconds=0.5, precision=1e-9), [model])
    assert quiet["redone_rounds"] == 0


def test_a_clock_that_stays_low_is_inconclusive(tmp_path: Path) -> None:
    model = conv_net()
    put_frequency(tmp_path, USUAL)
    timing = LatencyBench(ChangingMachine(tmp_path, {5: partial(put_frequency, tmp_path, USUAL // 2)}))
    with pytest.raises(RefusedError, match="clock dropped") as caught:
        timing.latency(request(model, enough_seconds=50.0, precision=1e-9), [model])
    assert caught.value.kind == "inconclusive"


def test_a_counter_that_moves_spoils_the_rounds_before_it(tmp_path: Path) -> None:
    model = conv_net()
    counter = f"{CPUS}/cpu0/thermal_throttle/package_throttle_count"
    put(tmp_path, counter, 0)
    timing = LatencyBench(ChangingMachine(tmp_path, {5: partial(put, tmp_path, counter, 1)}))
    reply = timing.latency(request(model, enough_seconds=0.5, precision=1e-9), [model])
    assert reply["redone_rounds"] > 0


def test_a_kept_model_is_loaded_once_and_its_twin_beside_it_anew(tmp_path: Path) -> None:
    model, other = conv_net(), conv_net(8)
    timing = bench(tmp_path)
    first, second, third = (
        timing.latency(request(*pair, kept=[0]), list(pair))["models"]
        for pair in ((model, model), (model, other), (other, model))
    )
    assert first[0]["first_run_ns"] == second[0]["first_run_ns"]
    assert first[0]["load_seconds"] == second[0]["load_seconds"]
    assert first[1]["load_seconds"] != first[0]["load_seconds"]
    assert third[1]["load_seconds"] != first[0]["load_seconds"]


def test_a_model_kept_under_other_options_is_not_taken(tmp_path: Path) -> None:
    model = conv_net()
    timing = bench(tmp_path)
    plain = timing.latency(request(model, kept=[0]), [model])["models"][0]
    other = timing.latency(request(model, kept=[0], setups=[{**SETUP, "graph_optimization": "disabled"}]), [model])
    assert other["models"][0]["load_seconds"] != plain["load_seconds"]


def test_warming_up_ends_when_it_is_steady_or_the_time_is_over() -> None:
    runner = Runner(conv_net(), SETUP)
    begin = time.perf_counter()
    runs, _ = warm_up(runner, 0.2, 0.3)
    assert 0.2 <= time.perf_counter() - begin < 2.0
    assert 1 <= runs <= 64


def test_the_first_run_is_told_and_stays() -> None:
    runner = Runner(conv_net(), SETUP)
    assert runner.first_run_ns == 0
    first = runner.run(1)[0]
    runner.run(5)
    assert runner.first_run_ns == first


def test_throttling_that_lasts_is_inconclusive(tmp_path: Path) -> None:
    model = conv_net()
    put(tmp_path, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0")
    put(tmp_path, "sys/class/thermal/cooling_device0/cur_state", 3)
    with pytest.raises(RefusedError, match=r"The machine throttled .* in (\d+) of \1 rounds; cool it") as caught:
        bench(tmp_path).latency(request(model, enough_seconds=50.0, precision=1e-9), [model])
    assert caught.value.kind == "inconclusive"


def test_throttling_before_the_session_does_not_count(tmp_path: Path) -> None:
    model = conv_net()
    put(tmp_path, f"{CPUS}/cpu0/thermal_throttle/core_throttle_count", 7)
    assert bench(tmp_path).latency(request(model), [model])["redone_rounds"] == 0
