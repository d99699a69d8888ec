"""Whether one model is faster than another, as far as samples can tell: the record behind `deploycompress compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploycompress.measuring.interval import Interval
from deploycompress.measuring.meter import Meter, trusted_starts
from deploycompress.pipeline.boards import on_first_board
from deploycompress.pipeline.figures import describe_conditions, ends, remarks
from deploycompress.pipeline.subject import Loading, read_subjects
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.report.progress import Progress, SilentProgress

SCHEMA = 1

Document = dict[str, Any]  # Any: JSON


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    profile: str | os.PathLike[str] | Profile,
    targets: Sequence[str] = (),
    starts: int | None = None,
    max_seconds: float | None = None,
    input_shape: tuple[int, ...] | None = None,
    arch: str | None = None,
    trust: bool = False,
    allow: Sequence[str] = (),
    progress: Progress | None = None,
) -> Document:
    """Compare the latency of two models that are measured in turns.

    Args:
        first: the model to compare with.
        second: the model that is compared.
        profile: the target device.
        targets: ways to the board; the first that answers measures, none for this machine.
        starts: number of fresh processes, over which the ratio is repeated.
        max_seconds: when enough is enough, over all processes; None for the profile's.
        input_shape: sizes of the input's axes, the batch first, where a file does not say.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in a file may run.
        allow: `package.module:Class` entries that a pickled module may use.
        progress: who is told of the stages.

    Returns:
        JSON of schema 1: `ratio` (the second's median latency over the first's), its `interval`, `different` (whether
        the interval leaves out one), `words`, and where and how it was measured.

    Raises:
        MeasureError: the device is not available, or a model could not be measured there.
        ModelError: a file is no model, or not fit for the profile's runtime.
        UsageError: an option does not fit.

    Examples:
        >>> import deploycompress, pathlib, tempfile, torch
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for width in (8, 256):
        ...     network = torch.nn.Conv2d(3, width, 3)
        ...     deploycompress.capture(network, input_shape=(1, 3, 32, 32)).save(folder / f"{width}.onnx")
        >>> found = deploycompress.compare(
        ...     folder / "8.onnx", folder / "256.onnx", profile="x86", starts=1, max_seconds=0.1
        ... )
        >>> found["ratio"] > 1
        True
    """
    device = profile if isinstance(profile, Profile) else load_profile(profile)
    listener = progress or SilentProgress()
    loading = Loading(input_shape=input_shape, arch=arch, trust=trust, allow=tuple(allow))
    subjects = read_subjects([Path(first), Path(second)], device, loading)

    def work(meter: Meter) -> Document:
        with listener.stage(f"measure both models on {device.name}"):
            measured = meter.measure_together(
                [subject.data for subject in subjects],
                max_seconds=max_seconds,
                starts=starts or trusted_starts(device),
                input_shape=subjects[0].loading.input_shape,
            )
        found = measured[1]
        interval = found.ratio_interval()
        names = (subjects[0].name, subjects[1].name)
        return {
            "schema": SCHEMA,
            "first": names[0],
            "second": names[1],
            "ratio": found.ratio,
            "interval": ends(interval),
            "different": is_different(interval),
            "words": in_words(names[0], names[1], found.ratio, interval),
            "first_median_ms": found.baseline_median_ms,
            "second_median_ms": found.median_ms,
            "starts": len(found.starts),
            "samples": len(found.samples_ns),
            **describe_conditions(found.conditions),
            "remarks": remarks(measured, power_mode=device.device.power_mode),
        }

    return on_first_board(device, targets, work, listener)


def is_different(interval: Interval) -> bool:
    """Say whether an interval of a ratio leaves out one."""
    return not interval.low <= 1 <= interval.high


def in_words(first: str, second: str, ratio: float, interval: Interval) -> str:
    """Say what a ratio of latencies, the second's over the first's, means.

    Examples:
        >>> in_words("a.onnx", "b.onnx", 0.8, Interval(low=0.75, high=0.84))
        'b.onnx is 1.25 times as fast as a.onnx.'
        >>> in_words("a.onnx", "b.onnx", 1.25, Interval(low=1.2, high=1.3))
        'b.onnx takes 1.25 times as long as a.onnx.'
        >>> in_words("a.onnx", "b.onnx", 0.99, Interval(low=0.97, high=1.02))
        'No difference shown between a.onnx and b.onnx.'
    """
    if not is_different(interval):
        return f"No difference shown between {first} and {second}."
    if interval.high < 1:
        return f"{second} is {1 / ratio:.3g} times as fast as {first}."
    return f"{second} takes {ratio:.3g} times as long as {first}."
