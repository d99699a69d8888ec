"""What this machine tells of itself, and how descriptions are compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploycompress.local_machine import (
    cores_of_quota,
    holds,
    local_cpu,
    local_cpu_flags,
    same_architecture,
    usable_cores,
)


def test_this_processor_tells_its_name_and_features() -> None:
    text = Path("/proc/cpuinfo").read_text()
    assert local_cpu() in text
    assert set(local_cpu_flags()) <= set(text.split())
    assert len(local_cpu_flags()) > 5


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("5000 100000", 1),
        ("max 100000\n", None),
        ("", None),
        ("1 0", None),
    ],
)
def test_a_quota_is_rounded_up_to_cores(text: str, cores: int | None) -> None:
    assert cores_of_quota(text) == cores


def test_a_process_bound_to_one_core_may_use_one() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    program += "from deploycompress.local_machine import usable_cores; print(usable_cores())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("wanted", "text", "is_held"),
    [
        ("", "", True),
        ("", "anything", True),
        ("orin nano", "NVIDIA Jetson Orin Nano Developer Kit", True),
        ("Orin Nano*Super", "NVIDIA Jetson Orin Nano Developer Kit Super", True),
        ("Orin Nano*Super", "Super Orin Nano", False),
        ("Orin Nano*Nano", "Orin Nano", False),
        ("Orin", "", False),
    ],
)
def test_parts_of_a_pattern_stand_in_their_order(wanted: str, text: str, is_held: bool) -> None:
    assert holds(wanted, text) == is_held


def test_architectures_have_several_names() -> None:
    assert same_architecture("AMD64", "x86_64")
    assert same_architecture("arm64", "aarch64")
    assert not same_architecture("aarch64", "armv7l")
