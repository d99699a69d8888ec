"""Captures, traces, slims and proves one network of the zoo, and times each step."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import DeployCompressError
from deploycompress.measuring.static import params
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.kernels import kernel_choices
from deploycompress.surgery.oracle import check_plan, random_inputs, run_graph
from deploycompress.surgery.slim import slim
from tools.zoo_models import Entry, Shapes, entries, randomise

BAR = 1e-4
REPEATS = 3


@dataclasses.dataclass(kw_only=True)
class Row:
    """What was found for one network; seconds are the best of three but for export, which runs once."""

    name: str
    status: str = "ok"
    export_s: float | None = None
    trace_s: float | None = None
    slim_s: float | None = None
    peer_s: float | None = None
    peer_failure: str = ""
    params_before: int | None = None
    params_after: int | None = None
    channels: int | None = None
    free: int | None = None
    blocks: int | None = None
    kernels: int | None = None
    relative: float | None = None
    compared: int | None = None
    frozen: dict[str, int] = dataclasses.field(default_factory=dict)


def half_of_all(channels: Channels, seed: int = 0) -> Plan:
    """Keep a random half of every group that may be cut."""
    rng = np.random.default_rng(seed)
    return Plan(
        keep={
            group.name: tuple(sorted(int(i) for i in rng.choice(group.width, group.width // 2, replace=False)))
            for group in channels.free_groups
            if group.width > 1
        }
    )


def measure_row(entry: Entry, *, with_peer: bool) -> Row:
    """Take one network through everything; a typed refusal is its status, anything else a defect that shows."""
    row = Row(name=entry.name)
    module = entry.build()
    randomise(module, entry.inputs)
    try:
        _fill(row, module, entry.inputs)
    except DeployCompressError as error:
        row.status = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if with_peer:
        _time_peer(row, module, entry.inputs)
    return row


def _fill(row: Row, module: nn.Module, inputs: Shapes) -> None:
    started = time.perf_counter()
    graph = capture(module, input_shape=inputs[0] if len(inputs) == 1 else inputs)
    row.export_s = time.perf_counter() - started
    row.params_before = params(graph)
    row.trace_s, channels = _best(lambda: trace_channels(graph))
    row.channels, row.free = channels.count, sum(group.width for group in channels.free_groups)
    for group in channels.groups:
        if group.frozen and not group.why.startswith("output "):
            row.frozen[group.why] = row.frozen.get(group.why, 0) + group.width
    plan = half_of_all(channels)
    row.slim_s, student = _best(lambda: slim(graph, plan, channels=channels))
    row.params_after = params(student)
    row.relative = check_plan(graph, plan, channels=channels).relative
    row.compared = sum(output.size for output in run_graph(student, random_inputs(graph, seed=0)))
    row.blocks, row.kernels = len(blocks(graph)), len(kernel_choices(graph))
    if not row.relative <= BAR:
        row.status = f"differs by {row.relative:.1e}"
    elif not plan.keep or not row.compared:
        row.status = "nothing may be cut" if not plan.keep else "the outputs are empty"


def _best(call: Any) -> tuple[float, Any]:  # Any: whatever is timed
    best, result = float("inf"), None
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - started)
    return best, result


def _time_peer(row: Row, module: nn.Module, inputs: Shapes) -> None:
    """Time torch-pruning's dependency graph on the same network, in the same process."""
    pruning = importlib.import_module("torch_pruning")
    example = tuple(torch.randn(*shape) for shape in inputs)
    started = time.perf_counter()
    try:
        pruning.DependencyGraph().build_dependency(module, example_inputs=example if len(example) > 1 else example[0])
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        row.peer_failure = type(error).__name__
        return
    row.peer_s = time.perf_counter() - started


def main(name: str, with_peer: bool) -> None:
    """Print one row as JSON."""
    warnings.simplefilter("ignore")
    entry = next(entry for entry in entries() if entry.name == name)
    print(json.dumps(dataclasses.asdict(measure_row(entry, with_peer=with_peer))))


if __name__ == "__main__":
    main(sys.argv[1], with_peer=len(sys.argv) > 2)
