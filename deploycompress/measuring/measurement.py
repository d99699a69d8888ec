"""A measurement: raw samples with everything needed to judge them; statistics are derived, never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from typing import Any

from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.conditions import Conditions, Machine, MachineState
from deploycompress.measuring.interval import Interval, least_samples, quantile, quantile_interval
from deploycompress.measuring.quiet import bounds_of, counted_starts, quiet_starts

__all__ = ["Conditions", "Machine", "MachineState", "Measurement"]

SCHEMA = 2
NS_PER_MS = 1e6
BYTES_PER_MIB = 2**20

Rounds = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One model measured under one set of conditions, alone or beside a baseline.

    Both models' samples come from the same runs of the same processes; there is no way to attach a baseline later.

    Attributes:
        conditions: machine, runtime and profile.
        model: SHA-256 of the model's bytes.
        baseline: SHA-256 of the baseline's bytes; empty when there was none.
        starts: number of rounds in each process, in the order of `student_ns`.
        student_ns: latency samples by round, nanoseconds.
        baseline_ns: the baseline's, as many rounds, taken in turns with the model's; empty when there was none.
        redone_rounds: number of rounds that the machine spoilt and that were taken again.
        states: the machine before and after sampling, for each process.
        settled: whether latency was steady when sampling began.
        load_seconds: time to make the model's session; the middle one of several processes.
        first_run_ns: time of the first run in a session; the middle one of several processes.
        placement: number of nodes by execution provider; empty where ONNX Runtime does not tell.
        file_bytes: size of the serialised model.
        weights_bytes: sum of the model's constants.
        activation_peak_bytes: largest sum of live activations.
        activation_evidence: `measured` (or `proxy`) when ONNX Runtime told, `analytic` when it was computed.
        peak_rss_bytes: resident memory at its highest, less an empty session's; None when not taken.
    """

    conditions: Conditions
    model: str
    baseline: str
    starts: tuple[int, ...]
    student_ns: Rounds
    baseline_ns: Rounds
    redone_rounds: int
    states: tuple[MachineState, ...]
    settled: bool
    load_seconds: float
    first_run_ns: int
    placement: Mapping[str, int]
    file_bytes: int
    weights_bytes: int
    activation_peak_bytes: int
    activation_evidence: Evidence
    peak_rss_bytes: int | None = None

    def __post_init__(self) -> None:
        rounds = (*self.student_ns, *self.baseline_ns)
        if not self.student_ns or any(not block or min(block) <= 0 for block in rounds):
            raise MeasureError("A measurement needs samples, all of them above 0 ns.")
        if self.baseline_ns and len(self.baseline_ns) != len(self.student_ns):
            raise MeasureError(
                f"{len(self.student_ns)} rounds of the model do not pair with {len(self.baseline_ns)} of the baseline."
            )
        if bool(self.baseline) != bool(self.baseline_ns):
            raise MeasureError("A baseline needs both its digest and its samples.")
        if sum(self.starts) != len(self.student_ns) or min(self.starts, default=0) < 1:
            raise MeasureError(f"Starts of {self.starts} rounds do not make {len(self.student_ns)} rounds.")

    @property
    def evidence(self) -> Evidence:
        """Whether the latency was taken on the profile's own device."""
        return self.conditions.evidence

    @property
    def samples_ns(self) -> tuple[int, ...]:
        """The model's latency samples in the order they were taken."""
        return tuple(chain.from_iterable(self.student_ns))

    @property
    def baseline_samples_ns(self) -> tuple[int, ...]:
        """The baseline's latency samples in the order they were taken."""
        return tuple(chain.from_iterable(self.baseline_ns))

    @property
    def median_ms(self) -> float:
        """The model's median latency."""
        return quantile(self.samples_ns, 0.5) / NS_PER_MS

    @property
    def baseline_median_ms(self) -> float:
        """The baseline's median latency.

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        return quantile(self.baseline_samples_ns, 0.5) / NS_PER_MS

    @property
    def latency_ms(self) -> float:
        """The model's latency at the profile's percentile."""
        return quantile(self.samples_ns, self.conditions.percentile / 100) / NS_PER_MS

    @property
    def throughput_per_s(self) -> float:
        """How many inputs the model takes in a second, one after the other."""
        return 1e3 / self.median_ms

    @property
    def ratio(self) -> float:
        """The model's latency over the baseline's.

        Each round gives the ratio of undisturbed runs, each process the median of these, and the median of the quiet
        processes counts: neither a disturbed round nor a process whose memory happens to lie badly moves it.

        Raises:
            MeasureError: there was no baseline.
        """
        return quantile(self.start_ratios, 0.5)

    @property
    def start_ratios(self) -> tuple[float, ...]:
        """The ratio in each process that counts: the quiet ones (`measuring.quiet`), or all where those are too few.

        Raises:
            MeasureError: there was no baseline.
        """
        ratios, bounds = self.round_ratios, bounds_of(self.starts)
        return tuple(quantile(ratios[slice(*bounds[index])], 0.5) for index in self.counted_starts)

    @property
    def round_ratios(self) -> tuple[float, ...]:
        """The ratio in each round, of runs that nothing interrupted.

        A round holds few runs of a slow model and more of a fast one, and an interruption hits long runs more often, so
        medians would flatter the faster model wherever the processor is shared. Interruptions only ever add time: the
        fastest of as many runs of the one as of the other are compared.

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        pairs = zip(self.student_ns, self.baseline_ns, strict=True)
        return tuple(_undisturbed_ratio(student, baseline) for student, baseline in pairs)

    @property
    def slow_starts(self) -> int:
        """Number of processes in which something else seems to have used the machine (`measuring.quiet`).

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        return len(self.starts) - len(quiet_starts(self.baseline_ns, self.starts))

    @property
    def counted_starts(self) -> tuple[int, ...]:
        """Places of the processes that the ratio is of.

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        return counted_starts(self.baseline_ns, self.starts, self._least_starts())

    def percentile_ms(self, percentile: float) -> float:
        """Give any percentile of the model's latency."""
        return quantile(self.samples_ns, percentile / 100) / NS_PER_MS

    def baseline_percentile_ms(self, percentile: float) -> float:
        """Give any percentile of the baseline's latency.

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        return quantile(self.baseline_samples_ns, percentile / 100) / NS_PER_MS

    def latency_interval_ms(self, percentile: float | None = None) -> Interval:
        """Bound a percentile of the model's latency, the profile's one when none is given.

        Samples of one process are more alike than samples of several. Where there are enough processes to tell by how
        much, the interval spans what their percentiles bound, too.
        """
        share = (self.conditions.percentile if percentile is None else percentile) / 100
        confidence = self.conditions.confidence
        bounds = quantile_interval(self.samples_ns, share, confidence)
        if len(self.starts) >= self._least_starts():
            processes = [
                quantile(tuple(chain.from_iterable(self.student_ns[begin:end])), share)
                for begin, end in bounds_of(self.starts)
            ]
            bounds = bounds.hull(quantile_interval(processes, 0.5, confidence))
        return bounds.scaled(1 / NS_PER_MS)

    def ratio_interval(self) -> Interval:
        """Bound the ratio by order statistics: over processes where there are enough of them, else over rounds.

        An interval over rounds leaves out that the same model can be a few percent faster in the next process; where
        there are several, though too few, it reaches to all of their ratios.

        Raises:
            MeasureError: there was no baseline.
        """
        starts, confidence = self.start_ratios, self.conditions.confidence
        if len(starts) >= self._least_starts():
            return quantile_interval(starts, 0.5, confidence)
        bounds = quantile_interval(self.round_ratios, 0.5, confidence)
        return bounds.hull(Interval(low=min(starts), high=max(starts)))

    def metrics(self) -> dict[str, float]:
        """Give what was measured under the names of `constraint.METRICS`; what was not measured is absent."""
        found = {
            "latency_ms": self.latency_ms,
            "file_mib": self.file_bytes / BYTES_PER_MIB,
            "weights_mib": self.weights_bytes / BYTES_PER_MIB,
            "activation_peak_mib": self.activation_peak_bytes / BYTES_PER_MIB,
        }
        if self.baseline_ns:
            found["latency_ratio"] = self.ratio
        if self.peak_rss_bytes is not None:
            found["peak_rss_mib"] = self.peak_rss_bytes / BYTES_PER_MIB
        return found

    def interval(self, metric: str) -> Interval:
        """Bound a metric; what is counted and not sampled has an interval of one point.

        Args:
            metric: a name that `metrics` gives.

        Raises:
            MeasureError: the metric was not measured.
        """
        if metric == "latency_ms":
            return self.latency_interval_ms()
        if metric == "latency_ratio":
            return self.ratio_interval()
        found = self.metrics()
        if metric not in found:
            raise MeasureError(f"Metric {metric!r} was not measured; measured were {', '.join(found)}.")
        return Interval(low=found[metric], high=found[metric])

    def pooled_with(self, other: Measurement) -> Measurement:
        """Put the samples of a repetition to these.

        Raises:
            MeasureError: the other is of another machine, runtime, profile, model or baseline.
        """
        for name, mine, theirs in (
            *(
                (f.name, getattr(self.conditions, f.name), getattr(other.conditions, f.name))
                for f in fields(Conditions)
            ),
            ("model", self.model, other.model),
            ("baseline", self.baseline, other.baseline),
        ):
            if mine != theirs:
                raise MeasureError(
                    f"Measurements of different {name} cannot be merged ({mine!r} and {theirs!r}); measure again."
                )
        return replace(
            self,
            starts=self.starts + other.starts,
            student_ns=self.student_ns + other.student_ns,
            baseline_ns=self.baseline_ns + other.baseline_ns,
            redone_rounds=self.redone_rounds + other.redone_rounds,
            states=self.states + other.states,
            settled=self.settled and other.settled,
        )

    def to_json(self) -> str:
        """Write the measurement as JSON; equal measurements give equal text."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Measurement:
        """Read a measurement that `to_json` wrote.

        Raises:
            MeasureError: the text is no measurement, is of another schema, or has unknown or missing keys.
        """
        try:
            return _from_record(json.loads(text))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise MeasureError(
                f"Not a measurement: {error}; one is JSON as Measurement.to_json() writes it."
            ) from error

    def _least_starts(self) -> int:
        return least_samples(0.5, self.conditions.confidence)

    def _require_baseline(self) -> None:
        if not self.baseline_ns:
            raise MeasureError("The model was measured alone; measure it beside a baseline to compare.")


def _from_record(record: dict[str, Any]) -> Measurement:  # Any: a decoded JSON object, checked by the records
    schema = record.pop("schema")
    if schema != SCHEMA:
        raise MeasureError(f"The measurement has schema {schema!r}, this version reads {SCHEMA}.")
    conditions = record.pop("conditions")
    machine = Machine(**conditions.pop("machine"))
    conditions["providers"] = tuple(conditions["providers"])
    conditions["evidence"] = Evidence(conditions["evidence"])
    record["activation_evidence"] = Evidence(record["activation_evidence"])
    states = tuple(MachineState(**state) for state in record.pop("states"))
    starts = tuple(map(int, record.pop("starts")))
    student, baseline = (
        tuple(tuple(map(int, block)) for block in record.pop(name)) for name in ("student_ns", "baseline_ns")
    )
    return Measurement(
        conditions=Conditions(machine=machine, **conditions),
        student_ns=student,
        baseline_ns=baseline,
        starts=starts,
        states=states,
        **record,
    )


def _undisturbed_ratio(student: Sequence[int], baseline: Sequence[int]) -> float:
    size = min(len(student), len(baseline))
    return _fastest(student, size) / _fastest(baseline, size)


def _fastest(samples: Sequence[int], size: int) -> float:
    """Give the typical fastest of so many runs: more of them alone shall not make a model look faster."""
    whole = range(0, len(samples) - size + 1, size)
    return quantile([min(samples[start : start + size]) for start in whole], 0.5)
