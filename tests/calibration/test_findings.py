"""From staircases to a profile's quanta."""

from __future__ import annotations

import pytest

from deploycompress.calibration.findings import Staircase, derive_quanta
from deploycompress.calibration.layers import Layer
from deploycompress.calibration.quantum import QuantumFinding, Rise, WidthTime
from deploycompress.calibration.staircase import Side, Sweep
from deploycompress.profile import ChannelSteps, Quantum


def staircase(
    kind: str, side: Side, quantum: int | None, share: float = 0.5, rises: tuple[Rise, ...] = ()
) -> Staircase:
    layer = Layer(
        kind=kind,
        op="Conv",
        inputs=64,
        outputs=64,
        groups=64 if side is Side.BOTH else 1,
        kernel=(3, 3),
        strides=(1, 1),
        size=(8, 8),
        output_size=(8, 8),
    )
    return Staircase(
        sweep=Sweep(layer=layer, side=side, widths=(8, 16), fixed=32, size=(8, 8)),
        share=share,
        times=(
            WidthTime(width=8, ms=1.0, low_ms=0.9, high_ms=1.1),
            WidthTime(width=16, ms=2.0, low_ms=1.9, high_ms=2.1),
        ),
        finding=QuantumFinding(quantum=quantum, rises=rises),
    )


def test_each_side_gets_its_own_quantum() -> None:
    found = derive_quanta(
        ChannelSteps(quantum=4),
        [staircase("conv3x3", Side.INPUT, 8), staircase("conv3x3", Side.OUTPUT, 16)],
    )
    assert found.quanta == {"conv3x3": Quantum(input=8, output=16)}
    assert found.quantum == 16


def test_both_sides_of_a_depthwise_convolution_are_one() -> None:
    found = derive_quanta(ChannelSteps(quantum=4), [staircase("depthwise3x3", Side.BOTH, 8)])
    assert found.quanta == {"depthwise3x3": Quantum(input=8, output=8)}


def test_what_is_inconclusive_stays_as_the_profile_says() -> None:
    known = ChannelSteps(quantum=4, quanta={"conv3x3": Quantum(input=8, output=8), "gemm": Quantum(input=2, output=2)})
    found = derive_quanta(
        known,
        [
            staircase("conv3x3", Side.INPUT, None),
            staircase("conv3x3", Side.OUTPUT, 16),
            staircase("conv1x1", Side.INPUT, None),
        ],
    )
    assert found.quanta == {"conv3x3": Quantum(input=8, output=16), "gemm": Quantum(input=2, output=2)}
    assert derive_quanta(known, [staircase("conv3x3", Side.INPUT, None)]) == known


@pytest.mark.parametrize(("before", "after"), [(1, 4), (2, 4), (6, 12), (16, 16)])
def test_a_step_that_is_sure_counts_although_a_larger_one_is_open(before: int, after: int) -> None:
    rises = (Rise(step=4, value=0.9, low=0.8, high=1.0), Rise(step=8, value=0.5, low=0.4, high=0.6))
    open_ended = staircase("conv3x3", Side.INPUT, None, rises=rises)
    found = derive_quanta(ChannelSteps(quantum=before), [open_ended])
    assert (found.quantum, found.quanta) == (after, {"conv3x3": Quantum(input=after, output=before)})
    assert open_ended.verdict == "steps of 4, if not more"


def test_smooth_latency_is_a_finding() -> None:
    found = derive_quanta(
        ChannelSteps(quantum=8), [staircase("conv3x3", side, 1) for side in (Side.INPUT, Side.OUTPUT)]
    )
    assert (found.quantum, found.quanta["conv3x3"]) == (1, Quantum(input=1, output=1))


def test_a_kind_with_little_arithmetic_has_no_say_in_the_whole() -> None:
    found = derive_quanta(
        ChannelSteps(quantum=4),
        [staircase("conv3x3", Side.INPUT, 8, share=0.95), staircase("gemm", Side.INPUT, 64, share=0.05)],
    )
    assert found.quantum == 8
    assert found.quanta["gemm"].input == 64


def test_verdicts_are_words() -> None:
    verdicts = [staircase("conv3x3", Side.INPUT, quantum).verdict for quantum in (None, 1, 16)]
    assert verdicts == ["inconclusive, the profile's quantum stays", "smooth", "steps of 16"]
