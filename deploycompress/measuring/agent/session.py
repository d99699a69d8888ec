"""A model in an ONNX Runtime session with its inputs bound, ready to run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .inputs import random_inputs
from .placement import checked_placement, require_providers

if TYPE_CHECKING:
    from .frames import Message

LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
# Threads of one session that spin after its run would take the processor from the next one.
_UNDISTURBED = {"session.force_spinning_stop": "1"}


class Runner:
    """A loaded model with its inputs bound, ready to run.

    Args:
        model: serialised model, or the path of one.
        setup: providers, threads and options as the profile has them.
        extra: session options by name, for profiling.

    Attributes:
        load_seconds: time to make the session.
        first_run_ns: time of the very first run; zero before it.
        placement: number of nodes by execution provider.
    """

    def __init__(self, model: bytes | str, setup: Message, **extra: Any) -> None:  # Any: options of many types
        import onnxruntime

        require_providers(onnxruntime.get_available_providers(), setup["providers"])
        options = _session_options(setup, extra)
        providers = [(name, setup["provider_options"].get(name, {})) for name in setup["providers"]]
        begin = time.perf_counter()
        self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        self.load_seconds = time.perf_counter() - begin
        self.first_run_ns = 0
        self.session.disable_fallback()
        self.placement = checked_placement(self.session, setup["providers"])
        self.binding = self.session.io_binding()
        for name, array in random_inputs(self.session.get_inputs(), setup["seed"]):
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
        self.first_run_ns = self.first_run_ns or samples[0]
        return samples


def _session_options(setup: Message, extra: Message) -> Any:  # Any: onnxruntime is untyped
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[setup["graph_optimization"]])
    options.log_severity_level = 4
    for key, value in {**_UNDISTURBED, **setup["session"]}.items():
        options.add_session_config_entry(key, value)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for axis in setup["batch_axes"]:
        options.add_free_dimension_override_by_name(axis, 1)
    for name, value in extra.items():
        setattr(options, name, value)
    return options
