"""How long each kernel of ONNX Runtime's rewritten graph takes, by its own profiler."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .events import node_events, profiling_options
from .sampling import warm_up
from .session import Runner

if TYPE_CHECKING:
    from .frames import Message

KERNEL_EVENT = "_kernel_time"


def kernel_times(request: Message, blobs: list[bytes]) -> Message:
    """Profile a model and give the microseconds of each kernel in each run."""
    with tempfile.TemporaryDirectory() as folder:
        rewritten = Path(folder) / "rewritten.onnx"
        saving = {"optimized_model_filepath": str(rewritten)} if request["wants_graph"] else {}
        runner = Runner(blobs[0], request["setup"], **profiling_options(folder), **saving)
        graph = [rewritten.read_bytes()] if saving else []
        warm_up(runner, request["warmup_seconds"], request["warmup_limit_seconds"])
        begin, runs = time.perf_counter(), 0
        while runs < request["min_runs"] or (
            runs < request["max_runs"] and time.perf_counter() - begin < request["max_seconds"]
        ):
            runner.run(1)
            runs += 1
        events = node_events(runner)
    kernels: dict[tuple[str, str], Message] = {}
    for event in events:
        if event["name"].endswith(KERNEL_EVENT):
            name, about = event["name"][: -len(KERNEL_EVENT)], event["args"]
            kernel = {"name": name, "op": about["op_name"], "microseconds": []}
            kernels.setdefault((name, about["node_index"]), kernel)["microseconds"].append(event["dur"])
    return {"kernels": list(kernels.values()), "runs": runs, "attached": graph}
