"""Captures, traces, slims and proves one network of the zoo, and times each step."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import DeployCompressError
from deploycompress.graph import UNKNOWN_SIZE, Graph, Port, prune_unused
from deploycompress.measuring.static import params
from deploycompress.plan import Plan
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.kernels import kernel_choices
from deploycompress.surgery.masked import masked
from deploycompress.surgery.oracle import check_plan, compare_graphs, random_inputs, run_graph
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
    relative_before_selection: float | None = None
    selected_differs: bool = False
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
    if row.relative > BAR and (ports := ports_before_selection(graph)):
        full = masked(graph, plan, channels=channels)
        short, reference = (prune_unused(replace(each, outputs=ports)) for each in (student, full))
        row.relative_before_selection = compare_graphs(short, reference, random_inputs(graph, seed=0)).relative
    row.blocks, row.kernels = len(blocks(graph)), len(kernel_choices(graph))
    if not row.relative <= BAR and row.relative_before_selection is not None:
        row.relative, row.selected_differs = row.relative_before_selection, True
    if not row.relative <= BAR:
        row.status = f"differs by {row.relative:.1e}"
    elif not plan.keep or not row.compared:
        row.status = "nothing may be cut" if not plan.keep else "the outputs are empty"


def ports_before_selection(graph: Graph) -> tuple[Port, ...]:
    """Name the tensors of static size that enter what selects by value, such as the best of all boxes.

    Selection jumps with rounding where a network was never trained: ranks of nearly equal scores change places.
    """
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(graph.to_onnx()).graph.value_info
    }
    selecting = [
        node
        for node in graph.nodes
        if node.op == "TopK" or any(UNKNOWN_SIZE in graph.shapes.get(name, (UNKNOWN_SIZE,)) for name in node.outputs)
    ]
    names = dict.fromkeys(name for node in selecting for name in node.inputs if kinds.get(name) == TensorProto.FLOAT)
    known = {name: graph.shapes[name] for name in names if UNKNOWN_SIZE not in graph.shapes.get(name, (UNKNOWN_SIZE,))}
    return tuple(Port(name=name, dtype=int(TensorProto.FLOAT), shape=shape) for name, shape in known.items())


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
