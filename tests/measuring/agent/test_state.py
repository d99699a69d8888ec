"""What is read of a machine, from real files laid out as Linux lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycompress.measuring.agent.machine import cpu_flags, describe_machine, power_mode
from deploycompress.measuring.agent.state import StateReader
from deploycompress.measuring.conditions import Machine, MachineState
from tests.measuring.agent.machine_files import CPUS, THERMAL, put, put_frequency, put_last_processor


def put_vcgencmd(folder: Path, bits: str) -> None:
    program = put(folder, "vcgencmd", f'#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled={bits}')
    program.chmod(0o755)


def test_a_system_that_tells_nothing_gives_none_and_no_error(tmp_path: Path) -> None:
    state = StateReader(tmp_path, search_path=str(tmp_path)).read()
    assert MachineState(**state.as_message()) == MachineState()


def test_the_clock_is_that_of_the_processor_that_ran_the_process(tmp_path: Path) -> None:
    for cpu, khz, governor in ((0, 800_000, "powersave"), (1, 2_400_000, "performance")):
        put_frequency(tmp_path, khz, cpu)
        put(tmp_path, f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor", governor)
    reader = StateReader(tmp_path, search_path="")
    for cpu, expected in ((0, (800_000, "powersave")), (1, (2_400_000, "performance"))):
        put_last_processor(tmp_path, cpu)
        state = reader.read()
        assert (state.frequency_khz, state.governor) == expected


def test_the_processor_is_the_one_this_system_names() -> None:
    real = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert int(real[36]) in os.sched_getaffinity(0)


def test_the_hottest_zone_of_the_processor_counts(tmp_path: Path) -> None:
    for number, (kind, temperature) in enumerate(
        [("PMIC-Die", 100_000), ("CPU-therm", 41_500), ("cpu1-thermal", 47_000)]
    ):
        put(tmp_path, f"{THERMAL}/thermal_zone{number}/type", kind)
        put(tmp_path, f"{THERMAL}/thermal_zone{number}/temp", temperature)
    assert StateReader(tmp_path, search_path="").read().temperature_c == 47.0


@pytest.mark.parametrize(("told", "expected"), [("-274000", None), ("nonsense", None), ("55000", 55.0)])
def test_a_temperature_that_cannot_be_is_none(tmp_path: Path, told: str, expected: float | None) -> None:
    put(tmp_path, f"{THERMAL}/thermal_zone0/type", "acpitz")
    put(tmp_path, f"{THERMAL}/thermal_zone0/temp", told)
    assert StateReader(tmp_path, search_path="").read().temperature_c == expected


def test_a_counter_that_moves_changes_the_marks(tmp_path: Path) -> None:
    counter = f"{CPUS}/cpu0/thermal_throttle/core_throttle_count"
    put(tmp_path, counter, 3)
    reader = StateReader(tmp_path, search_path="")
    first = reader.read()
    put(tmp_path, counter, 4)
    second = reader.read()
    assert (first.throttled, second.throttled) == (False, False)
    assert first.marks != second.marks == reader.read().marks


def test_a_cooling_device_of_the_processor_says_throttled(tmp_path: Path) -> None:
    put(tmp_path, f"{THERMAL}/cooling_device0/type", "pwm-fan")
    put(tmp_path, f"{THERMAL}/cooling_device0/cur_state", 2)
    assert StateReader(tmp_path, search_path="").read().throttled is None
    put(tmp_path, f"{THERMAL}/cooling_device1/type", "cpufreq-cpu0")
    put(tmp_path, f"{THERMAL}/cooling_device1/cur_state", 0)
    reader = StateReader(tmp_path, search_path="")
    assert reader.read().throttled is False
    put(tmp_path, f"{THERMAL}/cooling_device1/cur_state", 1)
    assert reader.read().throttled is True


@pytest.mark.parametrize(
    ("bits", "throttled"), [("0x0", False), ("0x4", True), ("0x1", True), ("0x50000", False), ("0x50005", True)]
)
def test_a_raspberry_pi_is_asked_by_its_own_program(tmp_path: Path, bits: str, throttled: bool) -> None:
    put_vcgencmd(tmp_path, bits)
    state = StateReader(tmp_path, search_path=str(tmp_path)).read()
    assert (state.throttled, state.marks) == (throttled, (int(bits, 16),))


@pytest.mark.parametrize("script", ["#!/bin/sh\necho VCHI initialization failed >&2; exit 255", "no program at all"])
def test_a_program_that_fails_leaves_throttling_unknown(tmp_path: Path, script: str) -> None:
    put(tmp_path, "vcgencmd", script).chmod(0o755)
    assert StateReader(tmp_path, search_path=str(tmp_path)).read().throttled is None


def test_the_load_is_that_of_the_last_minute(tmp_path: Path) -> None:
    put(tmp_path, "proc/loadavg", "1.25 0.50 0.10 2/345 6789")
    assert StateReader(tmp_path, search_path="").read().load_average == 1.25


def test_this_machine_can_be_read() -> None:
    state = MachineState(**StateReader().read().as_message())
    assert state.load_average is not None
    assert state.load_average >= 0


@pytest.mark.parametrize(
    ("status", "mode"), [("pmode:0002 fmode:quiet", "15W"), ("pmode:0000", "MAXN"), ("pmode:0007", "7"), ("", "")]
)
def test_the_power_mode_of_a_jetson_is_read_from_its_files(tmp_path: Path, status: str, mode: str) -> None:
    put(tmp_path, "var/lib/nvpmodel/status", status)
    put(tmp_path, "etc/nvpmodel.conf", "# modes\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU 1\n< POWER_MODEL ID=2 NAME=15W >")
    assert power_mode(tmp_path) == mode
    assert Machine(**describe_machine(tmp_path)).power_mode == mode


def test_the_processors_features_are_told(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path) == []
    put(
        tmp_path,
        "proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f\nflags\t\t: other",
    )
    assert cpu_flags(tmp_path) == ["avx2", "avx512f", "fpu"]
    assert describe_machine(tmp_path)["cpu"] == "Some CPU"
