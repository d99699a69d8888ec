"""Several models measured beside each other on one board: the record behind `deploycompress bench`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploycompress.errors import UsageError
from deploycompress.measuring.meter import Meter, trusted_starts
from deploycompress.measuring.node_times import NodeTimes
from deploycompress.pipeline.boards import on_first_board
from deploycompress.pipeline.figures import describe_conditions, ends, remarks
from deploycompress.pipeline.reading import Reading, take_readings
from deploycompress.pipeline.subject import Loading, Subject, read_subjects
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.report.progress import Progress, SilentProgress

SCHEMA = 1

Document = dict[str, Any]  # Any: JSON


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    profile: str | os.PathLike[str] | Profile,
    targets: Sequence[str] = (),
    starts: int | None = None,
    max_seconds: float | None = None,
    input_shape: tuple[int, ...] | None = None,
    arch: str | None = None,
    trust: bool = False,
    allow: Sequence[str] = (),
    nodes: bool = False,
    progress: Progress | None = None,
) -> Document:
    """Measure models beside each other, in the same rounds, so that their ratios mean something.

    Args:
        models: files; the first is what the others are compared with.
        profile: the target device.
        targets: ways to the board, see `deploycompress bench --help`; the first that answers measures, none for this
            machine.
        starts: number of fresh processes, over which ratios are repeated.
        max_seconds: when enough is enough, over all processes; None for the profile's.
        input_shape: sizes of the input's axes, the batch first, where a file does not say.
        arch: `package.module:factory` that builds the network of a state dict.
        trust: whether code in a file may run.
        allow: `package.module:Class` entries that a pickled module may use.
        nodes: measure the time of every node, too.
        progress: who is told of the stages.

    Returns:
        JSON of schema 1: where and how it was measured, and one entry of `models` each; times say their units, and what
        was not measured is null.

    Raises:
        MeasureError: the device is not available, or a model could not be measured there.
        ModelError: a file is no model, or not fit for the profile's runtime.
        UsageError: no model was named, or an option does not fit.

    Examples:
        >>> import deploycompress, pathlib, tempfile, torch
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.onnx"
        >>> deploycompress.capture(torch.nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8)).save(path)
        >>> document = deploycompress.bench([path], profile="x86", starts=1, max_seconds=0.1)
        >>> document["models"][0]["name"], document["models"][0]["median_ms"] > 0
        ('model.onnx', True)
    """
    if not models:
        raise UsageError("No model was named; give at least one file.")
    device = profile if isinstance(profile, Profile) else load_profile(profile)
    listener = progress or SilentProgress()
    loading = Loading(input_shape=input_shape, arch=arch, trust=trust, allow=tuple(allow))
    subjects = read_subjects([Path(model) for model in models], device, loading)

    def work(meter: Meter) -> Document:
        with listener.stage(f"measure {len(subjects)} model{'s' * (len(subjects) > 1)} on {device.name}"):
            readings = take_readings(
                meter, subjects, starts=starts or trusted_starts(device), max_seconds=max_seconds, rss=True
            )
        times: list[NodeTimes | None] = [None for _ in subjects]
        if nodes:
            with listener.stage("measure every node"):
                times = [meter.node_times(subject.measured_graph()) for subject in subjects]
        return _document(device, subjects, readings, times)

    return on_first_board(device, targets, work, listener)


def _document(
    device: Profile, subjects: Sequence[Subject], readings: Sequence[Reading], times: Sequence[NodeTimes | None]
) -> Document:
    return {
        "schema": SCHEMA,
        **describe_conditions(readings[0].measurement.conditions),
        "states": [asdict(state) for state in readings[0].measurement.states],
        "remarks": remarks([reading.measurement for reading in readings], power_mode=device.device.power_mode),
        "models": [_model(*parts) for parts in zip(subjects, readings, times, strict=True)],
    }


def _model(subject: Subject, reading: Reading, times: NodeTimes | None) -> Document:
    measurement = reading.measurement
    has_ratio = bool(measurement.baseline)
    return {
        "name": subject.name,
        "sha256": measurement.model,
        "median_ms": measurement.median_ms,
        "median_interval_ms": ends(measurement.latency_interval_ms(50)),
        "latency_ms": measurement.latency_ms,
        "latency_interval_ms": ends(measurement.latency_interval_ms()),
        "throughput_per_s": measurement.throughput_per_s,
        "ratio": measurement.ratio if has_ratio else None,
        "ratio_interval": ends(measurement.ratio_interval()) if has_ratio else None,
        "load_ms": 1000 * measurement.load_seconds,
        "first_run_ms": measurement.first_run_ns / 1e6,
        "activation_peak_bytes": measurement.activation_peak_bytes,
        "activation_evidence": str(measurement.activation_evidence),
        "peak_rss_bytes": reading.peak_rss_bytes,
        "peak_rss_interval_bytes": ends(reading.peak_rss_interval) if reading.peak_rss_interval else None,
        "weights_bytes": measurement.weights_bytes,
        "file_bytes": measurement.file_bytes,
        "samples": len(measurement.samples_ns),
        "starts": len(measurement.starts),
        "settled": measurement.settled,
        "redone_rounds": measurement.redone_rounds,
        "placement": dict(measurement.placement),
        "nodes": None if times is None else _nodes(subject, times),
    }


def _nodes(subject: Subject, times: NodeTimes) -> Document:
    operators = {node.name: node.op for node in subject.measured_graph().nodes}
    total_ms = times.total_us / 1000
    return {
        "runs": times.runs,
        "kernels_ms": total_ms,
        "times": [
            {"name": name, "op": operators.get(name, ""), "ms": share * total_ms, "share": share}
            for name, share in times.shares.items()
        ],
        "other": dict(sorted(times.other.items())),
    }
