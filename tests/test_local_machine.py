"""What this machine tells of itself, and how descriptions are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.local_machine import holds, local_cpu, local_cpu_flags, same_architecture


def test_this_processor_tells_its_name_and_features() -> None:
    text = Path("/proc/cpuinfo").read_text()
    assert local_cpu() in text
    assert set(local_cpu_flags()) <= set(text.split())
    assert len(local_cpu_flags()) > 5


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
