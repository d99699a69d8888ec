"""The quantum rule on staircases that are known because they were made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deploycompress.calibration.quantum import WidthTime, find_quantum
from deploycompress.calibration.staircase import WIDTHS

CONFIDENCE = 0.95

X86_3X3 = {  # design.md: six 3x3 convolutions at 28x28, ONNX Runtime 1.31.1, one thread, AVX-512; milliseconds
    8: 0.119, 12: 0.174, 16: 0.207, 17: 0.429, 20: 0.753, 24: 0.753, 31: 1.121, 32: 0.752, 33: 1.212, 40: 1.647,
    47: 2.220, 48: 1.644, 56: 2.947, 64: 2.965, 72: 4.756, 80: 4.752,
}  # fmt: skip
X86_1X1 = {
    8: 0.047, 12: 0.064, 16: 0.028, 17: 0.047, 20: 0.099, 24: 0.099, 31: 0.117, 32: 0.098, 33: 0.127, 40: 0.204,
    47: 0.231, 48: 0.204, 56: 0.354, 64: 0.354, 72: 0.543, 80: 0.543,
}  # fmt: skip

INT8_INPUT = {  # four 3x3 convolutions at 8x8 in 8 bits, the other width 64, AVX-512 VNNI; milliseconds
    8: 0.034, 9: 0.057, 10: 0.059, 12: 0.039, 14: 0.063, 15: 0.065, 16: 0.044, 17: 0.068, 18: 0.070, 20: 0.050,
    22: 0.077, 24: 0.055, 28: 0.060, 31: 0.092, 32: 0.065, 33: 0.094, 34: 0.097, 36: 0.071, 40: 0.076,
    48: 0.086, 56: 0.096, 63: 0.148, 64: 0.107, 65: 0.152, 80: 0.129, 96: 0.149, 128: 0.192,
}  # fmt: skip
INT8_OUTPUT = {  # the same, outputs changing
    8: 0.058, 9: 0.064, 10: 0.063, 12: 0.060, 14: 0.064, 15: 0.067, 16: 0.042, 17: 0.081, 18: 0.083, 20: 0.064,
    22: 0.084, 24: 0.064, 28: 0.065, 31: 0.090, 32: 0.065, 33: 0.108, 34: 0.109, 36: 0.087, 40: 0.088,
    48: 0.089, 56: 0.112, 63: 0.143, 64: 0.113, 65: 0.159, 80: 0.138, 96: 0.162, 128: 0.210,
}  # fmt: skip


def steps_of(quantum: int) -> Callable[[int], float]:
    return lambda width: 0.05 + 0.02 * -(-width // quantum) * quantum


def smooth(width: int) -> float:
    return 0.05 + 0.02 * width


def measured(
    latency: Callable[[int], float], *, noise: float, seed: int, widths: tuple[int, ...] = WIDTHS
) -> list[WidthTime]:
    """Take noisy latencies with honest bounds of 95 %."""
    rng = np.random.default_rng(seed)
    found = []
    for width in widths:
        true = latency(width)
        ms = true * (1 + noise * float(rng.standard_normal()))
        half = 1.96 * noise * true
        found.append(WidthTime(width=width, ms=ms, low_ms=max(ms - half, 1e-6), high_ms=ms + half))
    return found


@pytest.mark.parametrize("quantum", [4, 8, 16, 32, 64])
def test_a_clean_staircase_gives_its_step(quantum: int) -> None:
    assert find_quantum(measured(steps_of(quantum), noise=1e-4, seed=0), confidence=CONFIDENCE).quantum == quantum


@pytest.mark.parametrize("quantum", [8, 16, 32])
def test_a_smaller_step_is_sure_while_a_larger_one_is_open(quantum: int) -> None:
    def half_a_step(width: int) -> float:
        """Rise as much at once as over the step: at half-way, latency lies where a real step begins."""
        return 0.05 + 0.02 * quantum * (-(-width // quantum) / 2 + -(-width // 4) * 4 / (2 * quantum))

    found = find_quantum(measured(half_a_step, noise=1e-4, seed=0), confidence=CONFIDENCE)
    assert found.quantum is None
    assert 4 <= found.at_least < quantum


@pytest.mark.parametrize("quantum", [4, 8, 16, 32])
def test_what_is_sure_is_never_more_than_the_step(quantum: int) -> None:
    for seed in range(20):
        found = find_quantum(measured(steps_of(quantum), noise=0.02, seed=seed), confidence=CONFIDENCE)
        assert found.at_least <= quantum
        assert found.quantum in (None, found.at_least)


@pytest.mark.parametrize("latency", [smooth, lambda width: 0.1 + 3e-4 * width**2, lambda width: 0.001 * width])
def test_smooth_latency_has_no_step(latency: Callable[[int], float]) -> None:
    assert find_quantum(measured(latency, noise=1e-4, seed=0), confidence=CONFIDENCE).quantum == 1


@pytest.mark.parametrize("quantum", [1, 8, 16, 32])
@pytest.mark.parametrize("noise", [0.005, 0.02, 0.1])
def test_noise_leads_to_no_answer_rather_than_to_a_wrong_one(quantum: int, noise: float) -> None:
    latency = smooth if quantum == 1 else steps_of(quantum)
    found = [find_quantum(measured(latency, noise=noise, seed=seed), confidence=CONFIDENCE) for seed in range(60)]
    wrong = sum(one.quantum not in (None, quantum) for one in found)
    assert wrong <= 3
    if noise == 0.005 and quantum != 1:
        assert sum(one.quantum == quantum for one in found) >= 50


def test_flat_latency_tells_nothing() -> None:
    finding = find_quantum(measured(lambda _: 0.3, noise=0.01, seed=1), confidence=CONFIDENCE)
    assert finding.quantum is None


@pytest.mark.parametrize("table", [X86_3X3, X86_1X1], ids=["3x3", "1x1"])
def test_the_staircases_of_the_design_have_steps_of_sixteen(table: dict[int, float]) -> None:
    """They were measured at too few widths to speak about steps of 64, and 1x1 falls from 8 to 16."""
    found = measured(table.__getitem__, noise=0.005, seed=0, widths=tuple(table))
    finding = find_quantum(found, confidence=CONFIDENCE)
    assert finding.quantum == 16
    real = {rise.step: rise.is_real for rise in finding.rises}
    assert (real[32], real[16]) == (False, True)


def test_in_eight_bits_inputs_and_outputs_go_in_steps_of_their_own() -> None:
    inputs, outputs = (
        find_quantum(measured(table.__getitem__, noise=0.005, seed=0), confidence=CONFIDENCE)
        for table in (INT8_INPUT, INT8_OUTPUT)
    )
    assert (inputs.at_least, outputs.quantum) == (4, 16)


def test_a_fall_below_the_first_multiple_decides_nothing() -> None:
    def latency(width: int) -> float:
        return 2.0 if width < 16 else steps_of(16)(width)

    assert find_quantum(measured(latency, noise=0.002, seed=0), confidence=CONFIDENCE).quantum == 16


def test_the_same_measurement_gives_the_same_finding() -> None:
    staircase = measured(steps_of(16), noise=0.02, seed=3)
    assert find_quantum(staircase, confidence=CONFIDENCE) == find_quantum(staircase, confidence=CONFIDENCE)


def test_bounds_must_hold_the_latency() -> None:
    with pytest.raises(ValueError, match="width 8"):
        WidthTime(width=8, ms=1.0, low_ms=1.1, high_ms=1.2)
