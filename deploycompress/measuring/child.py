"""The measuring process: loads models into ONNX Runtime, runs them, and answers with raw samples.

One self-contained file that knows nothing of the package: it is started by its path, reads framed requests from
standard input and writes framed answers. A frame is a JSON header (4 bytes of length before it) and binary blobs.
"""

from __future__ import annotations

import base64
import ctypes
import faulthandler
import gc
import hashlib
import io
import json
import os
import platform
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

Message = dict[str, Any]  # Any: a decoded JSON object

LENGTH = struct.Struct(">I")
BLOCK_NS = 5_000_000  # a block of runs lasts about this long
MIN_ROUNDS = 8  # a bootstrap over fewer rounds would look surer than it is
MAX_BLOCK_RUNS = 64
LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
ELEMENT_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("float16", "uint8", "int8", "int32", "int64", "bool")
}
KERNEL_EVENT = "_kernel_time"
ARITHMETIC = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class RefusedError(Exception):
    """The request cannot be fulfilled; `kind` says why, for the parent to raise."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def encode_frame(message: Message, blobs: tuple[bytes, ...] = ()) -> bytes:
    """Put a message and its blobs into one frame."""
    header = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode()
    return b"".join((LENGTH.pack(len(header)), header, *blobs))


def decode_frame(read: Callable[[int], bytes]) -> tuple[Message, list[bytes]]:
    """Take one frame apart.

    Args:
        read: gives exactly the number of bytes asked for, or raises EOFError.
    """
    message = json.loads(read(LENGTH.unpack(read(LENGTH.size))[0]))
    return message, [read(length) for length in message.pop("blobs")]


class Runner:
    """A loaded model with its inputs bound, ready to run."""

    def __init__(self, model: bytes | str, setup: Message, **extra: Any) -> None:  # Any: options of many types
        import onnxruntime

        _require_providers(onnxruntime.get_available_providers(), setup["providers"])
        options = _session_options(setup, extra)
        providers = [(name, setup["provider_options"].get(name, {})) for name in setup["providers"]]
        begin = time.perf_counter()
        self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        self.load_seconds = time.perf_counter() - begin
        self.session.disable_fallback()
        self.placement = _checked_placement(self.session, setup["providers"])
        self.binding = self.session.io_binding()
        for name, array in _random_inputs(self.session.get_inputs(), setup["seed"]):
            self.binding.bind_cpu_input(name, array)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)

    def run(self, count: int) -> list[int]:
        """Run the model and give the nanoseconds of each run, copies from and to the processor included."""
        run, binding, clock = self.session.run_with_iobinding, self.binding, time.perf_counter_ns
        wait = binding.synchronize_outputs
        samples = []
        for _ in range(count):
            begin = clock()
            run(binding)
            wait()
            samples.append(clock() - begin)
        return samples


def _session_options(setup: Message, extra: Message) -> Any:  # Any: onnxruntime is untyped
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[setup["graph_optimization"]])
    options.log_severity_level = 4
    for key, value in setup["session"].items():
        options.add_session_config_entry(key, value)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for axis in setup["batch_axes"]:
        options.add_free_dimension_override_by_name(axis, 1)
    for name, value in extra.items():
        setattr(options, name, value)
    return options


def _require_providers(available: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in available]
    if missing:
        raise RefusedError(
            "provider",
            f"The profile asks for {missing[0]}, but the ONNX Runtime of this machine has only {', '.join(available)}; "
            "measure on the profile's device with a build of ONNX Runtime that has it, or choose a profile of this "
            "machine, such as x86.",
        )


def _checked_placement(session: Any, wanted: list[str]) -> dict[str, int]:  # Any: onnxruntime is untyped
    loaded = session.get_providers()
    if loaded[: len(wanted)] != wanted:
        raise RefusedError(
            "provider",
            f"ONNX Runtime fell back: the profile asks for {', '.join(wanted)}, the session has {', '.join(loaded)}; "
            "check the provider's libraries and drivers on this machine.",
        )
    placement: dict[str, int] = {}
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return placement
    for part in session.get_provider_graph_assignment_info():
        nodes = part.get_nodes()
        placement[part.ep_name] = placement.get(part.ep_name, 0) + len(nodes)
        arithmetic_on_cpu = part.ep_name == "CPUExecutionProvider" != wanted[0] and any(
            node.op_type in ARITHMETIC for node in nodes
        )
        if part.ep_name not in wanted or arithmetic_on_cpu:
            raise RefusedError(
                "provider",
                f"ONNX Runtime fell back: it placed node {nodes[0].name!r} ({nodes[0].op_type}) on {part.ep_name}, "
                f"the profile asks for {wanted[0]}; use operators that provider supports, or another profile.",
            )
    return placement


def _random_inputs(ports: Any, seed: int) -> list[tuple[str, Any]]:  # Any: onnxruntime is untyped
    import numpy as np

    generator = np.random.default_rng(seed)
    inputs = []
    for port in ports:
        if port.type not in ELEMENT_TYPES:
            raise RefusedError(
                "rejected", f"Input {port.name!r} is a {port.type}; known are {', '.join(ELEMENT_TYPES)}."
            )
        shape = [axis if isinstance(axis, int) else 1 for axis in port.shape]
        dtype = np.dtype(ELEMENT_TYPES[port.type])
        values = generator.standard_normal(shape) if dtype.kind == "f" else np.zeros(shape)
        inputs.append((port.name, np.ascontiguousarray(values, dtype)))
    return inputs


def _block_runs(typical_ns: float) -> int:
    return int(min(max(BLOCK_NS // max(typical_ns, 1), 1), MAX_BLOCK_RUNS))


def warm_up(runner: Runner, seconds: float, limit_seconds: float) -> tuple[int, bool]:
    """Run untimed until two blocks in a row agree within 5 %.

    Returns:
        The number of runs that make a block, and whether the model settled within the limit.
    """
    begin = time.perf_counter()
    previous, typical = 0.0, float(runner.run(1)[0])
    while True:
        previous, typical = typical, statistics.median(runner.run(max(_block_runs(typical), 2)))
        elapsed = time.perf_counter() - begin
        settled = abs(typical - previous) <= 0.05 * previous
        if (settled and elapsed >= seconds) or elapsed >= limit_seconds:
            return _block_runs(typical), settled


def _is_precise(rounds: list[list[int]], precision: float) -> bool:
    samples = sorted(sample for block in rounds for sample in block)
    reach = 0.98 * len(samples) ** 0.5  # normal approximation of the median's 95 % order-statistic interval
    low, high = int(len(samples) / 2 - reach), int(len(samples) / 2 + reach)
    return low >= 0 and samples[high] - samples[low] <= 2 * precision * samples[len(samples) // 2]


def sample(runners: list[Runner], runs: list[int], request: Message) -> list[list[list[int]]]:
    """Time the models in turns, A B B A, so that drift of the machine touches all alike.

    Returns:
        For each model its rounds of samples in nanoseconds; rounds of one index were taken side by side.

    Raises:
        RefusedError: too few samples in the longest time allowed.
    """
    begin = time.perf_counter()
    rounds: list[list[list[int]]] = [[] for _ in runners]
    order = range(len(runners))
    while True:
        blocks: list[list[int]] = [[] for _ in runners]
        for index in (*order, *reversed(order)):
            # The model before left its own data in the caches: the first of several short runs is not counted.
            block = runners[index].run(runs[index] + (runs[index] > 1))
            blocks[index] += block[runs[index] > 1 :]
        for index in order:
            rounds[index].append(blocks[index])
        elapsed = time.perf_counter() - begin
        count = min(sum(map(len, blocks)) for blocks in rounds)
        if count >= request["min_samples"] and len(rounds[0]) >= MIN_ROUNDS:
            if elapsed >= request["enough_seconds"] or all(_is_precise(part, request["precision"]) for part in rounds):
                return rounds
        elif count < request["min_samples"] and elapsed >= request["max_seconds"]:
            raise RefusedError(
                "inconclusive",
                f"Only {count} of {request['min_samples']} samples fit into {request['max_seconds']:g} s; "
                "raise max_seconds in the profile's [measure], or measure a smaller model.",
            )


class Agent:
    """Answers requests; keeps the last baseline loaded, because the search compares everything with it."""

    def __init__(self) -> None:
        self.baseline: tuple[str, Runner] | None = None

    def answer(self, request: Message, blobs: list[bytes]) -> Message:
        """Carry out one request."""
        commands = (self.hello, self.latency, self.activation_peak, self.peak_rss, self.kernel_times)
        return {command.__name__: command for command in commands}[request["command"]](request, blobs)

    def hello(self, _request: Message, _blobs: list[bytes]) -> Message:
        """Say what machine and runtime this is."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__, "machine": describe_machine()}

    def latency(self, request: Message, blobs: list[bytes]) -> Message:
        """Time a model, and the baseline with it when one is named."""
        load_before = os.getloadavg()[0]
        student = Runner(blobs[0], request["setup"])
        warmup, limit = request["warmup_seconds"], request["warmup_limit_seconds"]
        runs, settled = warm_up(student, warmup, limit)
        runners, block_runs = [student], [runs]
        if request["baseline"]:
            known = self.baseline is not None and self.baseline[0] == request["baseline"]
            if self.baseline is None or not known:
                self.baseline = (request["baseline"], Runner(blobs[1], request["baseline_setup"]))
            runner = self.baseline[1]
            runs, baseline_settled = warm_up(runner, 0.0 if known else warmup, limit)
            settled = settled and baseline_settled
            runners.append(runner)
            block_runs.append(runs)
        gc.collect()
        gc.disable()
        try:
            rounds = sample(runners, block_runs, request)
        finally:
            gc.enable()
        return {
            "rounds": rounds,
            "placement": student.placement,
            "load_seconds": student.load_seconds,
            "settled": settled,
            "load_average": [load_before, os.getloadavg()[0]],
        }

    def activation_peak(self, request: Message, blobs: list[bytes]) -> Message:
        """Read from ONNX Runtime's own profile how many bytes of activations were live at most."""
        with tempfile.TemporaryDirectory() as folder:
            # The memory pattern pads every buffer from the second run on.
            runner = Runner(blobs[0], request["setup"], **_profiling(folder), enable_mem_pattern=False)
            runner.run(1)
            events = _node_events(runner)
        peaks = [event.get("args", {}).get("mem_in_use_peak") for event in events]
        known = [int(peak) for peak in peaks if peak is not None]
        return {"bytes": max(known) if known else None}

    def peak_rss(self, request: Message, blobs: list[bytes]) -> Message:
        """Read this process's resident memory at its highest while the model runs."""
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:  # from bytes, the session would keep a copy of them
            file.write(blobs.pop())
            file.flush()
            runner = Runner(file.name, request["setup"])
        gc.collect()
        _return_free_memory()
        is_reset = _reset_peak()
        runner.run(request["runs"])
        kibibytes = [line.split()[1] for line in _read("/proc/self/status").splitlines() if line.startswith("VmHWM:")]
        if is_reset and kibibytes:
            return {"bytes": 1024 * int(kibibytes[0])}
        # Without Linux's counters, the highest since the start: loading the model is in it.
        unit = 1 if sys.platform == "darwin" else 1024
        return {"bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}

    def kernel_times(self, request: Message, blobs: list[bytes]) -> Message:
        """Read from ONNX Runtime's own profile how long each kernel took in each run, in microseconds."""
        with tempfile.TemporaryDirectory() as folder:
            rewritten = Path(folder) / "rewritten.onnx"
            saving = {"optimized_model_filepath": str(rewritten)} if request["wants_graph"] else {}
            runner = Runner(blobs[0], request["setup"], **_profiling(folder), **saving)
            graph = base64.b64encode(rewritten.read_bytes()).decode() if saving else None
            warm_up(runner, request["warmup_seconds"], request["warmup_limit_seconds"])
            begin, runs = time.perf_counter(), 0
            while runs < request["min_runs"] or (
                runs < request["max_runs"] and time.perf_counter() - begin < request["max_seconds"]
            ):
                runner.run(1)
                runs += 1
            events = _node_events(runner)
        kernels: dict[tuple[str, str], Message] = {}
        for event in events:
            if event["name"].endswith(KERNEL_EVENT):
                name, about = event["name"].removesuffix(KERNEL_EVENT), event["args"]
                kernel = {"name": name, "op": about["op_name"], "microseconds": []}
                kernels.setdefault((name, about["node_index"]), kernel)["microseconds"].append(event["dur"])
        return {"kernels": list(kernels.values()), "runs": runs, "graph": graph}


def _profiling(folder: str) -> Message:
    return {"enable_profiling": True, "profile_file_prefix": str(Path(folder) / "profile")}


def _node_events(runner: Runner) -> list[Message]:
    events = json.loads(Path(runner.session.end_profiling()).read_text())
    return [event for event in events if event.get("cat") == "Node"]


def _reset_peak() -> bool:
    """Let the kernel's record of the highest resident memory begin anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def describe_machine() -> Message:
    """Say on what machine the samples are taken; the name is hashed, results are meant to be shared."""
    identity = _read("/etc/machine-id") or platform.node()
    cpu_lines = _read("/proc/cpuinfo").splitlines()
    models = [line.partition(":")[2].strip() for line in cpu_lines if line.startswith(("model name", "Model"))]
    cpu = models[0] if models else platform.processor()
    facts = [identity, platform.machine(), cpu, str(os.cpu_count())]
    return {
        "id": hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16],
        "arch": platform.machine(),
        "board": _read("/proc/device-tree/model").strip("\0\n "),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _return_free_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _refusal_of(error: Exception) -> Message:
    if isinstance(error, RefusedError):
        return {"refused": error.kind, "sentence": str(error)}
    text = " ".join(str(error).split())[-400:]
    if isinstance(error, MemoryError):
        return {"refused": "memory", "sentence": "The model needs more memory than the machine gives."}
    for words in ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory"):
        if words in text:
            detail = text[text.index(words) :].rstrip(".")
            return {"refused": "memory", "sentence": f"The model needs more memory than the machine gives: {detail}."}
    return {"refused": "rejected", "sentence": f"ONNX Runtime refuses the model: {text}."}


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve(requests: BinaryIO, answers: BinaryIO, search_path: list[str]) -> None:
    """Answer requests until the stream ends."""
    sys.path += [entry for entry in search_path if entry not in sys.path]
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    raised: list[type[Exception]] = [RefusedError, MemoryError, RuntimeError, ValueError]
    raised += [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    refusals = tuple(raised)
    agent = Agent()
    while True:
        try:
            request, blobs = decode_frame(lambda count: _read_exactly(requests, count))
        except EOFError:
            return
        # Should the parent be gone when a model hangs in native code, nobody else ends this process.
        faulthandler.dump_traceback_later(request["lifetime_seconds"], exit=True)
        if request.get("memory_limit_bytes"):
            resource.setrlimit(resource.RLIMIT_AS, (request["memory_limit_bytes"],) * 2)
        try:
            reply = agent.answer(request, blobs)
        except refusals as error:
            reply = _refusal_of(error)
        faulthandler.cancel_dump_traceback_later()
        del blobs
        answers.write(encode_frame(reply))
        answers.flush()


def main() -> None:
    """Serve on standard input and output; whatever native code prints goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reads it while it is imported
    faulthandler.enable()
    serve(io.BufferedReader(io.FileIO(0)), answers, json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
