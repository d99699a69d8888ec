"""Staircases of convolutions in several precisions, side by side, and the channel quantum that each tells.

Run from the repository root: `python -m tools.staircases [--profile x86] [--seconds 60] [--starts 3]`. All widths of a
convolution in all precisions take turns in one run; what is shown is their undisturbed latency (the tenth percentile),
and how far fresh processes differ in it. Fills the marked parts of docs/staircases.md, and prints them. The machine
should do nothing else meanwhile: its load before and after is part of the page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploycompress.calibration.findings import Staircase
from deploycompress.calibration.layers import Layer
from deploycompress.calibration.quantum import find_quantum
from deploycompress.calibration.sampling import UNDISTURBED, width_time
from deploycompress.calibration.staircase import COPIES, WIDTHS, Side, Sweep, staircase_network, sweeps_of
from deploycompress.measuring.conditions import Conditions
from deploycompress.measuring.interval import quantile
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.quantize.costed import costed_form
from tools.marked_page import filled

PAGE = Path("docs/staircases.md")
TOOL = "tools/staircases.py"
IMAGE, CHANNELS = 28, 64
LEAST_SAMPLES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One staircase in one precision.

    Attributes:
        precision: of the networks.
        staircase: latencies and quantum.
        spreads: by width, how far the processes' latencies lie apart, relative to the middle one.
    """

    precision: Precision
    staircase: Staircase
    spreads: tuple[float, ...]


def layer(kind: str, kernel: int, groups: int = 1) -> Layer:
    """Describe a convolution of the size that is measured."""
    return Layer(
        kind=kind,
        op="Conv",
        inputs=CHANNELS,
        outputs=CHANNELS,
        groups=groups,
        kernel=(kernel, kernel),
        strides=(1, 1),
        size=(IMAGE, IMAGE),
        output_size=(IMAGE, IMAGE),
    )


def sweeps() -> tuple[Sweep, ...]:
    """List what is measured: both widths at once, and each side alone, as calibration does it."""
    found: list[Sweep] = []
    for one in (layer("conv3x3", 3), layer("conv1x1", 1)):
        found.append(Sweep(layer=one, side=Side.BOTH, widths=WIDTHS, fixed=0, size=one.size))
        found += sweeps_of(one)
    return (*found, *sweeps_of(layer("depthwise3x3", 3, groups=CHANNELS)))


def measure(
    meter: Meter, sweep: Sweep, precisions: Sequence[Precision], *, seconds: float, starts: int
) -> tuple[tuple[Found, ...], Conditions]:
    """Measure one convolution at all widths in all precisions, in turns."""
    form = meter.profile.precision.int8
    floats = [staircase_network(sweep, width, meter.profile.runtime) for width in sweep.widths]
    networks = [costed_form(graph, precision, form) for precision in precisions for graph in floats]
    parts = []
    for _ in range(starts):
        meter.close()
        parts.append(meter.measure_together(networks, max_seconds=seconds / starts, min_samples=LEAST_SAMPLES))
    measured = [pooled(of_network) for of_network in zip(*parts, strict=True)]
    count = len(sweep.widths)
    found = tuple(
        _found(sweep, precision, measured[place * count : (place + 1) * count], meter.profile.measure.confidence)
        for place, precision in enumerate(precisions)
    )
    return found, measured[0].conditions


def pooled(parts: Sequence[Measurement]) -> Measurement:
    """Put the samples of several processes together."""
    return replace(
        parts[0],
        student_ns=tuple(block for part in parts for block in part.student_ns),
        baseline_ns=tuple(block for part in parts for block in part.baseline_ns),
        starts=tuple(rounds for part in parts for rounds in part.starts),
    )


def _found(sweep: Sweep, precision: Precision, measured: Sequence[Measurement], confidence: float) -> Found:
    times = tuple(width_time(width, one) for width, one in zip(sweep.widths, measured, strict=True))
    staircase = Staircase(sweep=sweep, share=1.0, times=times, finding=find_quantum(times, confidence=confidence))
    return Found(precision=precision, staircase=staircase, spreads=tuple(spread(one) for one in measured))


def spread(measurement: Measurement) -> float:
    """Say how far the undisturbed latencies of the processes lie apart, relative to the middle one."""
    each, begin = [], 0
    for rounds in measurement.starts:
        part = measurement.student_ns[begin : begin + rounds]
        each.append(quantile([sample for block in part for sample in block], UNDISTURBED))
        begin += rounds
    return (max(each) - min(each)) / statistics.median(each)


def title(sweep: Sweep) -> str:
    """Name a convolution."""
    kind = sweep.layer.kind.replace("conv", "").replace("depthwise", "depthwise ")
    return f"{kind} @{sweep.size[0]}"


def latency_table(found: Sequence[Found]) -> str:
    """Write latencies by width for convolutions of which both widths change together, precisions side by side."""
    columns = [one for one in found if one.staircase.sweep.side is Side.BOTH]
    heads = [f"{title(one.staircase.sweep)} {one.precision}" for one in columns]
    lines = [f"| channels | {' | '.join(heads)} |", f"|{'---|' * (len(columns) + 1)}"]
    for place, width in enumerate(columns[0].staircase.sweep.widths):
        cells = [f"{one.staircase.times[place].ms:.3f}" for one in columns]
        lines.append(f"| {width} | {' | '.join(cells)} |")
    cells = [f"{statistics.median(one.spreads):.1%}, {max(one.spreads):.1%}" for one in columns]
    return "\n".join([*lines, f"| *spread: median, largest* | {' | '.join(cells)} |"])


def quantum_table(found: Sequence[Found]) -> str:
    """Write the quantum that each staircase tells, and how much faster the lower precision is at some widths."""
    precisions = list(dict.fromkeys(one.precision for one in found))
    by_sweep: dict[Sweep, dict[Precision, Found]] = {}
    for one in found:
        by_sweep.setdefault(one.staircase.sweep, {})[one.precision] = one
    ratios = [(lower, width) for lower in precisions[1:] for width in (8, 16, 32, 64, 128)]
    heads = ["convolution", "widths that change", *precisions, "spread"]
    heads += [f"{lower}/{precisions[0]} at {width}" for lower, width in ratios]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for sweep, rows in by_sweep.items():
        spreads = [value for one in rows.values() for value in one.spreads]
        cells = [title(sweep), str(sweep.side), *(verdict(rows[precision]) for precision in precisions)]
        cells.append(f"{statistics.median(spreads):.1%}")
        cells += [f"{ratio(rows[lower], rows[precisions[0]], width):.2f}" for lower, width in ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(one: Found) -> str:
    """Say the quantum in a word."""
    finding = one.staircase.finding
    if finding.quantum is None:
        return f"{finding.at_least} or more" if finding.at_least > 1 else "inconclusive"
    return "smooth" if finding.quantum == 1 else str(finding.quantum)


def ratio(lower: Found, single: Found, width: int) -> float:
    """Give the latency in a lower precision over that in single precision."""
    mine, other = (next(time.ms for time in one.staircase.times if time.width == width) for one in (lower, single))
    return mine / other


def settings(profile: Profile, conditions: Conditions, loads: tuple[float, float], *, starts: int) -> str:
    """Say where and how it was measured."""
    return (
        f"{conditions.machine.cpu or conditions.machine.arch}, ONNX Runtime {conditions.onnxruntime}, "
        f"{', '.join(conditions.providers)}, {conditions.threads} thread, profile `{profile.name}`; {COPIES} equal "
        f"convolutions to a network, all widths and precisions in turns, {starts} fresh processes. Load of the machine "
        f"(one minute) before {loads[0]:.1f}, after {loads[1]:.1f}, of which 1 is the measurement itself."
    )


def main() -> int:
    """Measure, print, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profile", default="x86")
    parser.add_argument("--seconds", type=float, default=60.0, help="of sampling for each convolution")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes for each convolution, at least 2")
    parser.add_argument("--precisions", nargs="+", type=Precision, default=[Precision.FP32, Precision.INT8])
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if options.starts < 2:
        parser.error("--starts: without two processes there is no spread to show")
    profile, before = load_profile(options.profile), os.getloadavg()[0]
    found: list[Found] = []
    with Meter(profile) as meter:
        for sweep in sweeps():
            steps, conditions = measure(
                meter, sweep, options.precisions, seconds=options.seconds, starts=options.starts
            )
            found += steps
            print(f"{title(sweep)}, {sweep.side}: {', '.join(map(verdict, steps))}", file=sys.stderr, flush=True)
    loads = (before, os.getloadavg()[0])
    parts: Mapping[str, str] = {
        "settings": settings(profile, conditions, loads, starts=options.starts),
        "latency": latency_table(found),
        "quantum": quantum_table(found),
    }
    print("\n\n".join(parts.values()))
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(filled(page, parts, tool=TOOL), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
