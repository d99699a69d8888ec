"""Which rounds the machine's clock spoils."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.measuring.agent.state import StateReader
from deploycompress.measuring.agent.watch import Watch
from tests.measuring.agent.machine_files import CPUS, put, put_frequency

USUAL = 2_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put_frequency(tmp_path, USUAL)
    put(tmp_path, f"{CPUS}/cpu0/thermal_throttle/core_throttle_count", 5)
    return tmp_path


def watch(root: Path) -> Watch:
    return Watch(StateReader(root, search_path=""), interval_seconds=0.0)


@pytest.mark.parametrize(("share", "quiet"), [(1.0, True), (1.3, True), (0.91, True), (0.89, False), (0.5, False)])
def test_a_clock_more_than_ten_percent_below_the_usual_spoils(root: Path, share: float, quiet: bool) -> None:
    watching = watch(root)
    assert watching.was_quiet()
    put_frequency(root, int(share * USUAL))
    assert watching.was_quiet() is quiet


def test_when_the_clock_is_back_rounds_count_again(root: Path) -> None:
    watching = watch(root)
    put_frequency(root, USUAL // 2)
    assert not watching.was_quiet()
    put_frequency(root, USUAL)
    assert watching.was_quiet()


def test_the_usual_clock_is_the_sessions_own_and_not_its_first(root: Path) -> None:
    put_frequency(root, USUAL // 3)  # it was idle
    watching = watch(root)
    put_frequency(root, USUAL)
    assert all(watching.was_quiet() for _ in range(4))
    put_frequency(root, USUAL // 2)
    assert not watching.was_quiet()


def test_a_counter_that_moved_spoils_once(root: Path) -> None:
    watching = watch(root)
    put(root, f"{CPUS}/cpu0/thermal_throttle/core_throttle_count", 6)
    assert not watching.was_quiet()
    assert watching.was_quiet()


def test_a_machine_that_tells_nothing_is_quiet(tmp_path: Path) -> None:
    watching = watch(tmp_path)
    assert watching.was_quiet()
    assert watching.first.frequency_khz is None


def test_a_first_reading_in_turbo_spoils_no_more_than_its_own_rounds(root: Path) -> None:
    put_frequency(root, 2_300_000)
    watching = watch(root)
    put_frequency(root, USUAL)
    watching.was_quiet()
    assert all(watching.was_quiet() for _ in range(20))
    put_frequency(root, int(0.85 * USUAL))
    assert not watching.was_quiet()


def test_a_clock_that_falls_later_does_not_become_the_usual_one(root: Path) -> None:
    watching = watch(root)
    assert all(watching.was_quiet() for _ in range(5))
    put_frequency(root, USUAL // 2)
    assert not any(watching.was_quiet() for _ in range(50))


def test_throttling_that_began_before_spoils_until_it_ends(root: Path) -> None:
    cooler = "sys/class/thermal/cooling_device0"
    put(root, f"{cooler}/type", "cpufreq-cpu0")
    put(root, f"{cooler}/cur_state", 2)
    watching = watch(root)
    assert not any(watching.was_quiet() for _ in range(10))
    put(root, f"{cooler}/cur_state", 0)
    assert not watching.was_quiet()  # it ended within these rounds
    assert watching.was_quiet()
