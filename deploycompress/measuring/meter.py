"""The meter: hands models to a measuring process and makes records of its answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from deploycompress.evaluation import Evidence
from deploycompress.graph import Graph
from deploycompress.measuring import static
from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.conditions import Conditions, Machine
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.interval import least_samples
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.model import MeasurableModel, Source, empty_model, read_model
from deploycompress.measuring.node_times import NodeTimes, node_times_from
from deploycompress.measuring.quiet import usual_ns
from deploycompress.measuring.reach.board import Board
from deploycompress.measuring.reach.target import LOCAL, Target, parse_target
from deploycompress.measuring.starts import Sampled, Sampling, is_enough, put_together, warmup_limit_seconds
from deploycompress.profile import Profile

# The ratios of seven lie all above or all below the true one in 1 of 64 cases, so a model compared with itself seldom
# looks different; with six it were 1 of 32.
_USUAL_STARTS = 7

_INPUT_SEED = 0
_MEMORY_RUNS = 5
_LEAST_PROFILED_RUNS, _MOST_PROFILED_RUNS = 11, 301
_PROFILED_SECONDS = 2.0


def trusted_starts(profile: Profile) -> int:
    """Give the fresh processes of a comparison that is to be trusted: enough for an interval over them."""
    return max(_USUAL_STARTS, least_samples(0.5, profile.measure.confidence))


class Meter:
    """Measures many models for one profile on one device, in a process that is replaced when it dies.

    Args:
        profile: the target device.
        target: where to measure.
        grace_seconds: time for loading and warm-up on top of the sampling time; then the process counts as hung. None
            for the profile's `load_seconds`.
        memory_limit_bytes: address space of the measuring process; None for no limit.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        target: Target = LOCAL,
        grace_seconds: float | None = None,
        memory_limit_bytes: int | None = None,
    ) -> None:
        self.profile = profile
        self.board = Board(profile, target, memory_limit_bytes=memory_limit_bytes)
        self._grace_seconds = profile.measure.load_seconds if grace_seconds is None else grace_seconds
        self._activation_peaks: dict[str, tuple[int, Evidence]] = {}
        self._empty_rss_bytes: int | None = None
        self._usual_ns: dict[str, float] = {}  # what baselines take where the machine is least disturbed

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
        """Process number of the measuring process, or of the way to it, when it runs."""
        return self.board.pid

    def close(self) -> None:
        """End the measuring process; the next measurement starts a new one."""
        self.board.close()

    def measure(
        self,
        model: Source,
        *,
        baseline: Source | None = None,
        max_seconds: float | None = None,
        min_samples: int | None = None,
        starts: int = 1,
        input_shape: tuple[int, ...] | None = None,
    ) -> Measurement:
        """Measure latency, activations and size of a model at batch size one.

        Sampling ends when medians and their ratio are as precise as the profile asks, or when `max_seconds` are over
        and there are `min_samples`. A search wants it quick: `max_seconds=0` ends at the first `min_samples`.

        Args:
            model: graph, serialised ONNX model, or path of one.
            baseline: the model to compare with, timed in turns with the first; it stays loaded for the next call.
            max_seconds: when enough is enough, over all processes; None for the profile's `max_seconds`, which limits
                this measurement unless more is given here.
            min_samples: least number of samples, at least 64; None for the profile's.
            starts: number of processes. One is the running process, several are fresh ones each, and the ratio of two
                models is told from the differences between them. Where so many find the machine disturbed that the
                others do not bound the ratio, there are more, as many again at most.
            input_shape: sizes of the input's axes where the model leaves them open, the batch first.

        Raises:
            FailedMeasurementError: this model could not be measured; the next one can be.
            MeasureError: the device or its execution provider is not available.
            MissingShapeError: the model leaves axes open, and `input_shape` is not given.
            ModelError: the model is not fit for the profile's runtime.
            UsageError: `input_shape` does not fit the model.
        """
        sources = [source for source in (baseline, model) if source is not None]
        models = [read_model(source, self.profile.runtime, input_shape=input_shape) for source in sources]
        sampling = self._sampling(len(models), max_seconds, min_samples, starts)
        sampled = self._sampled(models, sampling, kept=len(models) - 1)
        return self._measurement(models, len(models) - 1, sampled)

    def measure_together(
        self,
        models: Sequence[Source],
        *,
        max_seconds: float | None = None,
        min_samples: int | None = None,
        starts: int = 1,
        input_shape: tuple[int, ...] | None = None,
    ) -> tuple[Measurement, ...]:
        """Measure several models that take turns; the first is the baseline of all others, and has none itself.

        Args:
            models: graphs, serialised ONNX models, or paths.
            max_seconds: when enough is enough, for all models together; see `measure`.
            min_samples: of each model; see `measure`.
            starts: see `measure`.
            input_shape: of all models that leave axes open; see `measure`.

        Raises:
            FailedMeasurementError: one of the models could not be measured.
            MeasureError: the device or its execution provider is not available, or there is no model.
            MissingShapeError: a model leaves axes open, and `input_shape` is not given.
            ModelError: a model is not fit for the profile's runtime.
            UsageError: `input_shape` does not fit a model.
        """
        sampling = self._sampling(len(models), max_seconds, min_samples, starts)
        readable = [read_model(model, self.profile.runtime, input_shape=input_shape) for model in models]
        sampled = self._sampled(readable, sampling)
        return tuple(self._measurement(readable, place, sampled) for place in range(len(readable)))

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

    def peak_rss_bytes(self, model: Source, *, input_shape: tuple[int, ...] | None = None) -> int:
        """Measure resident memory while a model runs, over that of an empty session, each in a fresh process.

        Raises:
            FailedMeasurementError: this model could not be measured.
            MeasureError: the device or its execution provider is not available.
            MissingShapeError: the model leaves axes open, and `input_shape` is not given.
            ModelError: the model is not fit for the profile's runtime.
            UsageError: `input_shape` does not fit the model.
        """
        runtime = self.profile.runtime
        readable = read_model(model, runtime, input_shape=input_shape)
        if self._empty_rss_bytes is None:
            self._empty_rss_bytes = self._rss_bytes(read_model(empty_model(runtime), runtime))
        return max(self._rss_bytes(readable) - self._empty_rss_bytes, 0)

    def _sampling(self, models: int, max_seconds: float | None, min_samples: int | None, starts: int) -> Sampling:
        return Sampling(
            limits=self.profile.measure,
            models=models,
            starts=starts,
            max_seconds=max_seconds,
            min_samples=min_samples,
        )

    def _sampled(self, models: Sequence[MeasurableModel], sampling: Sampling, kept: int = 0) -> Sampled:
        """Sample the models in each process; the first `kept` of them stay loaded in the running one."""
        ask = self.board.ask if sampling.starts == 1 else self.board.ask_fresh
        # The longest allowed sampling ends with a last round, which for a slow model is not short.
        loading = self._grace_seconds * max(len(models) / 2, 1) * sampling.sessions
        orders: list[list[int]] = []
        replies: list[Message] = []
        known_ns, sampled = self._usual_ns.get(models[0].digest, math.inf), None
        while sampled is None or not is_enough(sampling, sampled, known_ns):
            order = sampling.order(len(orders))
            request = {
                **sampling.request(),
                "setups": [self._setup(models[model]) for model in order],
                "reference": order.index(0),
                "kept": list(range(kept)) if sampling.starts == 1 else [],
            }
            replies.append(
                ask(request, *(models[model] for model in order), timeout_seconds=sampling.most_seconds + loading)
            )
            orders.append(order)
            sampled = put_together(replies, orders)
        if len(models) > 1:
            self._usual_ns[models[0].digest] = min(usual_ns(sampled.rounds[0], sampled.starts), known_ns)
        return sampled

    def _measurement(self, models: Sequence[MeasurableModel], place: int, sampled: Sampled) -> Measurement:
        """Make the record of one model; the first is the baseline of the others."""
        model = models[place]
        peak, peak_evidence = self._activation_peak(model)
        return Measurement(
            conditions=self._conditions(),
            model=model.digest,
            baseline=models[0].digest if place else "",
            starts=sampled.starts,
            student_ns=sampled.rounds[place],
            baseline_ns=sampled.rounds[0] if place else (),
            redone_rounds=sampled.redone_rounds,
            states=sampled.states,
            settled=sampled.settled,
            load_seconds=sampled.load_seconds[place],
            first_run_ns=sampled.first_run_ns[place],
            placement=sampled.placement[place],
            file_bytes=len(model.data),
            weights_bytes=model.weights_bytes,
            activation_peak_bytes=peak,
            activation_evidence=peak_evidence,
        )

    def _kernel_times(self, model: MeasurableModel, *, wants_graph: bool) -> Message:
        limits = self.profile.measure
        request = {
            "command": "kernel_times",
            "setup": self._setup(model),
            "wants_graph": wants_graph,
            "warmup_seconds": limits.warmup_seconds,
            "warmup_limit_seconds": warmup_limit_seconds(limits),
            "min_runs": _LEAST_PROFILED_RUNS,
            "max_runs": _MOST_PROFILED_RUNS,
            "max_seconds": min(limits.max_seconds, _PROFILED_SECONDS),
        }
        return self.board.ask(request, model, timeout_seconds=limits.max_seconds + self._grace_seconds)

    def _activation_peak(self, model: MeasurableModel) -> tuple[int, Evidence]:
        if model.digest not in self._activation_peaks:
            request = {"command": "activation_peak", "setup": self._setup(model)}
            told = self.board.ask(request, model, timeout_seconds=self._grace_seconds)["bytes"]
            self._activation_peaks[model.digest] = (
                (static.activation_peak_bytes(model.graph()), Evidence.ANALYTIC)
                if told is None
                else (told, self._conditions().evidence)
            )
        return self._activation_peaks[model.digest]

    def _rss_bytes(self, model: MeasurableModel) -> int:
        request = {"command": "peak_rss", "setup": self._setup(model), "runs": _MEMORY_RUNS}
        return int(self.board.ask_fresh(request, model, timeout_seconds=self._grace_seconds)["bytes"])

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
        about = self.board.about
        machine = Machine(**about["machine"])
        flags = about.get("cpu_flags", ())
        is_device = self.profile.is_device(machine.arch, machine.board, machine.cpu, flags)
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


def measure(
    graph_or_path: Graph | Path | str,
    profile: Profile,
    *,
    baseline: Source | None = None,
    input_shape: tuple[int, ...] | None = None,
    starts: int = 1,
    target: str = "local",
) -> Measurement:
    """Measure one model thoroughly, peak resident memory included.

    Args:
        graph_or_path: the model, or the ONNX file that holds it.
        profile: the target device.
        baseline: the model to compare with.
        input_shape: sizes of the input's axes where the model leaves them open, the batch first.
        starts: number of processes; seven of them make a ratio that can be trusted.
        target: where to measure, such as `ssh://user@board`.

    Raises:
        FailedMeasurementError: the model could not be measured.
        MeasureError: the device or its execution provider is not available.
        MissingShapeError: a model leaves axes open, and `input_shape` is not given.
        ModelError: the model is not fit for the profile's runtime.
        UsageError: `target` or `input_shape` makes no sense.

    Examples:
        >>> import deploycompress, torch
        >>> graph = deploycompress.capture(torch.nn.Conv2d(3, 8, 3), input_shape=(1, 3, 8, 8))
        >>> measurement = deploycompress.measure(graph, deploycompress.load_profile("x86"))
        >>> 0 < measurement.median_ms < 1000
        True
    """
    model = Path(graph_or_path) if isinstance(graph_or_path, str) else graph_or_path
    with Meter(profile, target=parse_target(target)) as meter:
        found = meter.measure(model, baseline=baseline, starts=starts, input_shape=input_shape)
        return replace(found, peak_rss_bytes=meter.peak_rss_bytes(model, input_shape=input_shape))
