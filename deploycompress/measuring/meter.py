"""The meter: hands models to a measuring process and makes records of its answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from onnx import TensorProto, helper

from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from deploycompress.measuring import static
from deploycompress.measuring.child import Message
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Conditions, Machine, Measurement
from deploycompress.measuring.model import MeasurableModel, Source, read_model
from deploycompress.measuring.node_times import NodeTimes, node_times_from
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.profile import Profile

_INPUT_SEED = 0
_MEMORY_RUNS = 5
_LEAST_PROFILED_RUNS, _MOST_PROFILED_RUNS = 11, 301
_PROFILED_SECONDS = 2.0
_LEAST_WARMUP_SECONDS = 0.02
_WARMUP_SHARE = 0.1  # of a hurried measurement's time


class Meter:
    """Measures many models for one profile, in one process that is replaced when it dies.

    Args:
        profile: the target device.
        grace_seconds: time for loading and warm-up on top of the sampling time; then the process counts as hung.
        memory_limit_bytes: address space of the measuring process; None for no limit.
    """

    def __init__(self, profile: Profile, *, grace_seconds: float = 60.0, memory_limit_bytes: int | None = None) -> None:
        self.profile = profile
        self._grace_seconds = grace_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._process: MeasuringProcess | None = None
        self._loaded_baseline = ""
        self._activation_peaks: dict[str, tuple[int, Evidence]] = {}
        self._empty_rss_bytes: int | None = None

    def __enter__(self) -> Self:
        """Start measuring; the process starts with the first model."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the measuring process."""
        self.close()

    @property
    def child_pid(self) -> int | None:
        """Process number of the measuring process, when it runs."""
        return self._process.pid if self._process and self._process.is_alive else None

    def close(self) -> None:
        """End the measuring process; the next measurement starts a new one."""
        if self._process is not None:
            self._process.close()
        self._process, self._loaded_baseline = None, ""

    def measure(
        self,
        model: Source,
        *,
        baseline: Source | None = None,
        max_seconds: float | None = None,
        min_samples: int | None = None,
    ) -> Measurement:
        """Measure latency, activations and size of a model at batch size one.

        Sampling ends when the medians are as precise as the profile asks, or when `max_seconds` are over and there are
        `min_samples`. A search wants it quick: `max_seconds=0` ends at the first `min_samples`.

        Args:
            model: graph, serialised ONNX model, or path of one.
            baseline: the model to compare with, timed in turns with the first; it stays loaded for the next call.
            max_seconds: when enough is enough; None for the profile's `max_seconds`.
            min_samples: least number of samples, at least 64; None for the profile's.

        Raises:
            FailedMeasurementError: this model could not be measured; the next one can be.
            MeasureError: the device or its execution provider is not available.
            ModelError: the model is not fit for the profile's runtime.
        """
        wanted = self.profile.measure.min_samples if min_samples is None else min_samples
        if wanted < 64:
            raise MeasureError(f"min_samples is {wanted}; below 64 samples no bound on the 90th percentile exists.")
        student = read_model(model, self.profile.runtime)
        reference = None if baseline is None else read_model(baseline, self.profile.runtime)
        reply = self._latency(student, reference, max_seconds, wanted)
        rounds = [tuple(tuple(block) for block in part) for part in reply["rounds"]]
        peak, peak_evidence = self._activation_peak(student)
        return Measurement(
            conditions=self._conditions(),
            model=student.digest,
            baseline=reference.digest if reference else "",
            student_ns=rounds[0],
            baseline_ns=rounds[1] if reference else (),
            settled=reply["settled"],
            load_average=(reply["load_average"][0], reply["load_average"][1]),
            load_seconds=reply["load_seconds"],
            placement=reply["placement"],
            weights_bytes=student.weights_bytes,
            activation_peak_bytes=peak,
            activation_evidence=peak_evidence,
        )

    def node_times(self, graph: Graph) -> NodeTimes:
        """Measure how long each node of a graph takes, as ONNX Runtime's own profiler tells.

        Profiling costs time of its own, so shares of the sum mean something and the sum is more than the latency.

        Raises:
            FailedMeasurementError: the graph could not be measured.
            MeasureError: the device or its execution provider is not available.
            ModelError: the graph is not fit for the profile's runtime.
        """
        model = read_model(graph, self.profile.runtime)
        try:
            reply = self._kernel_times(model, wants_graph=True)
        except FailedMeasurementError as error:
            if error.kind is not FailureKind.REJECTED:
                raise
            # Providers that compile whole subgraphs run them, but cannot save the rewritten graph.
            reply = self._kernel_times(model, wants_graph=False)
        return node_times_from(graph, reply, self._conditions())

    def peak_rss_bytes(self, model: Source) -> int:
        """Measure resident memory while a model runs, over that of an empty session, each in a fresh process.

        Raises:
            FailedMeasurementError: this model could not be measured.
            MeasureError: the device or its execution provider is not available.
            ModelError: the model is not fit for the profile's runtime.
        """
        if self._empty_rss_bytes is None:
            self._empty_rss_bytes = self._rss_bytes(read_model(_empty_model(self.profile), self.profile.runtime))
        return max(self._rss_bytes(read_model(model, self.profile.runtime)) - self._empty_rss_bytes, 0)

    def _latency(
        self, student: MeasurableModel, reference: MeasurableModel | None, max_seconds: float | None, min_samples: int
    ) -> Message:
        limits = self.profile.measure
        enough = limits.max_seconds if max_seconds is None else min(max_seconds, limits.max_seconds)
        hurried = max(_LEAST_WARMUP_SECONDS, _WARMUP_SHARE * enough)
        process = self._running_process()
        must_send = reference is not None and reference.digest != self._loaded_baseline
        request = {
            "command": "latency",
            "setup": self._setup(student),
            "baseline": reference.digest if reference else "",
            "baseline_setup": self._setup(reference) if reference else None,
            "warmup_seconds": min(limits.warmup_seconds, hurried),
            "warmup_limit_seconds": max(5 * limits.warmup_seconds, 1.0),
            "min_samples": min_samples,
            "enough_seconds": enough,
            "max_seconds": limits.max_seconds,
            "precision": limits.precision,
        }
        blobs = (student.data, reference.data) if reference and must_send else (student.data,)
        # The longest allowed sampling ends with a last round, which for a slow model is not short.
        reply = self._ask(process, request, blobs, limits.max_seconds + self._grace_seconds)
        if reference is not None:
            self._loaded_baseline = reference.digest
        return reply

    def _kernel_times(self, model: MeasurableModel, *, wants_graph: bool) -> Message:
        limits = self.profile.measure
        request = {
            "command": "kernel_times",
            "setup": self._setup(model),
            "wants_graph": wants_graph,
            "warmup_seconds": limits.warmup_seconds,
            "warmup_limit_seconds": max(5 * limits.warmup_seconds, 1.0),
            "min_runs": _LEAST_PROFILED_RUNS,
            "max_runs": _MOST_PROFILED_RUNS,
            "max_seconds": min(limits.max_seconds, _PROFILED_SECONDS),
        }
        timeout = limits.max_seconds + self._grace_seconds
        return self._ask(self._running_process(), request, (model.data,), timeout)

    def _activation_peak(self, model: MeasurableModel) -> tuple[int, Evidence]:
        if model.digest not in self._activation_peaks:
            request = {"command": "activation_peak", "setup": self._setup(model)}
            reply = self._ask(self._running_process(), request, (model.data,), self._grace_seconds)
            told = reply["bytes"]
            self._activation_peaks[model.digest] = (
                (static.activation_peak_bytes(model.graph()), Evidence.ANALYTIC)
                if told is None
                else (told, self._conditions().evidence)
            )
        return self._activation_peaks[model.digest]

    def _rss_bytes(self, model: MeasurableModel) -> int:
        process = self._new_process()
        try:
            request = {"command": "peak_rss", "setup": self._setup(model), "runs": _MEMORY_RUNS}
            return int(process.ask(request, model.data, timeout_seconds=self._grace_seconds)["bytes"])
        finally:
            process.close()

    def _ask(
        self, process: MeasuringProcess, request: Message, blobs: tuple[bytes, ...], timeout_seconds: float
    ) -> Message:
        try:
            return process.ask(request, *blobs, timeout_seconds=timeout_seconds)
        except FailedMeasurementError as error:
            if not process.is_alive or error.kind is FailureKind.MEMORY:
                self.close()  # what a process that ran out of memory says next is not to be trusted
            raise
        except KeyboardInterrupt:
            self.close()  # the answer that is still to come must not be taken for the next one's
            raise

    def _running_process(self) -> MeasuringProcess:
        if self._process is None or not self._process.is_alive:
            self.close()
            self._process = self._new_process()
        return self._process

    def _new_process(self) -> MeasuringProcess:
        process = MeasuringProcess(memory_limit_bytes=self._memory_limit_bytes)
        needed, found = self.profile.runtime.min_onnxruntime, process.about["onnxruntime"]
        if _version(found) < _version(needed):
            process.close()
            raise MeasureError(f"ONNX Runtime is {found}, profile {self.profile.name!r} needs {needed}; upgrade it.")
        return process

    def _setup(self, model: MeasurableModel) -> Message:
        runtime = self.profile.runtime
        return {
            "providers": list(runtime.providers),
            "provider_options": {
                provider: {key: str(value) for key, value in options.items()}
                for provider, options in runtime.provider_options.items()
            },
            "threads": runtime.threads,
            "graph_optimization": runtime.graph_optimization,
            "session": runtime.session,
            "batch_axes": list(model.batch_axes),
            "seed": _INPUT_SEED,
        }

    def _conditions(self) -> Conditions:
        about = self._running_process().about
        machine = Machine(**about["machine"])
        is_device = self.profile.is_device(machine.arch, machine.board)
        return Conditions(
            machine=machine,
            onnxruntime=about["onnxruntime"],
            profile=self.profile.name,
            profile_digest=self.profile.digest(),
            providers=self.profile.runtime.providers,
            threads=self.profile.runtime.threads,
            percentile=self.profile.measure.percentile,
            confidence=self.profile.measure.confidence,
            evidence=Evidence.MEASURED if is_device else Evidence.PROXY,
        )


def measure(graph_or_path: Graph | Path | str, profile: Profile, *, baseline: Source | None = None) -> Measurement:
    """Measure one model thoroughly, peak resident memory included.

    Args:
        graph_or_path: the model, or the ONNX file that holds it.
        profile: the target device.
        baseline: the model to compare with.

    Raises:
        FailedMeasurementError: the model could not be measured.
        MeasureError: the device or its execution provider is not available.
        ModelError: the model is not fit for the profile's runtime.

    Examples:
        >>> import deploycompress, torch
        >>> graph = deploycompress.capture(torch.nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8))
        >>> measurement = deploycompress.measure(graph, deploycompress.load_profile("x86"))
        >>> 0 < measurement.median_ms < 1000
        True
    """
    model = Path(graph_or_path) if isinstance(graph_or_path, str) else graph_or_path
    with Meter(profile) as meter:
        found = meter.measure(model, baseline=baseline)
        return replace(found, peak_rss_bytes=meter.peak_rss_bytes(model))


def _empty_model(profile: Profile) -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "empty", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", min(profile.runtime.max_opset, 17))])
    model.ir_version = min(profile.runtime.max_ir, 8)
    return bytes(model.SerializeToString())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
