"""Memory: activations as ONNX Runtime counts them, and resident memory as the system counts it."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .events import node_events, profiling_options
from .machine import read_text
from .session import Runner

if TYPE_CHECKING:
    from .frames import Message


def activation_peak(request: Message, blobs: list[bytes]) -> Message:
    """Read from ONNX Runtime's own profile how many bytes of activations and scratch were live at most."""
    setup = request["setup"]
    # Weights that kernels pack anew lie in the arena beside the activations, and would count as such.
    setup = {**setup, "session": {**setup["session"], "session.disable_prepacking": "1"}}
    with tempfile.TemporaryDirectory() as folder:
        # The memory pattern pads every buffer from the second run on.
        runner = Runner(blobs[0], setup, **profiling_options(folder), enable_mem_pattern=False)
        runner.run(1)
        events = node_events(runner)
    peaks = [event.get("args", {}).get("mem_in_use_peak") for event in events]
    known = [int(peak) for peak in peaks if peak is not None]
    return {"bytes": max(known) if known else None}


def peak_rss(request: Message, blobs: list[bytes]) -> Message:
    """Read this process's resident memory at its highest while the model runs."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:  # from bytes, the session would keep a copy of them
        file.write(blobs.pop())
        file.flush()
        runner = Runner(file.name, request["setup"])
    gc.collect()
    return_free_memory()
    is_reset = _reset_peak()
    runner.run(request["runs"])
    status = read_text(Path("/proc/self/status"))
    kibibytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    if is_reset and kibibytes:
        return {"bytes": 1024 * int(kibibytes[0])}
    # Without Linux's counters, the highest since the start: loading the model is in it.
    unit = 1 if sys.platform == "darwin" else 1024
    return {"bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def return_free_memory() -> None:
    """Give memory that the allocator holds back to the system, where it knows how."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_peak() -> bool:
    """Let the kernel's record of the highest resident memory begin anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
