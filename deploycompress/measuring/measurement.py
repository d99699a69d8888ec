"""A measurement: raw samples with everything needed to judge them; statistics are derived, never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from typing import Any

import numpy as np

from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval, quantile, quantile_interval, ratio_interval

SCHEMA = 1
NS_PER_MS = 1e6
BYTES_PER_MIB = 2**20

Rounds = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where samples were taken.

    Attributes:
        id: hash that tells machines apart without naming them.
        arch: processor architecture.
        board: device-tree model; empty on a PC.
        cpu: processor model.
        cores: processor cores in sight.
        system: operating system and its version.
        governor: frequency governor; empty where unknown.
    """

    id: str
    arch: str
    board: str
    cpu: str
    cores: int
    system: str
    governor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What must be equal for two measurements to be put side by side.

    Attributes:
        machine: where the samples were taken.
        onnxruntime: version of ONNX Runtime.
        profile: name of the profile.
        profile_digest: SHA-256 of the profile's content.
        providers: execution providers of the session.
        threads: threads inside one operator.
        percentile: the percentile that the metric `latency_ms` is.
        confidence: level of the intervals.
        evidence: whether the machine is the profile's own device.
    """

    machine: Machine
    onnxruntime: str
    profile: str
    profile_digest: str
    providers: tuple[str, ...]
    threads: int
    percentile: float
    confidence: float
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One model measured under one set of conditions, alone or beside a baseline.

    Both models' samples come from one run of one process; there is no way to attach a baseline later.

    Attributes:
        conditions: machine, runtime and profile.
        model: SHA-256 of the model's bytes.
        baseline: SHA-256 of the baseline's bytes; empty when there was none.
        student_ns: latency samples by round, nanoseconds.
        baseline_ns: the baseline's, as many rounds, taken in turns with the model's; empty when there was none.
        settled: whether latency was steady when sampling began.
        load_average: the system's load before and after.
        load_seconds: time to make the model's session.
        placement: number of nodes by execution provider; empty where ONNX Runtime does not tell.
        weights_bytes: sum of the model's constants.
        activation_peak_bytes: largest sum of live activations.
        activation_evidence: `measured` (or `proxy`) when ONNX Runtime told, `analytic` when it was computed.
        peak_rss_bytes: resident memory at its highest, less an empty session's; None when not taken.
    """

    conditions: Conditions
    model: str
    baseline: str
    student_ns: Rounds
    baseline_ns: Rounds
    settled: bool
    load_average: tuple[float, float]
    load_seconds: float
    placement: Mapping[str, int]
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
    def ratio(self) -> float:
        """The model's median latency over the baseline's.

        Raises:
            MeasureError: there was no baseline.
        """
        return self.median_ms / self.baseline_median_ms

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
        """Bound a percentile of the model's latency, the profile's one when none is given."""
        share = (self.conditions.percentile if percentile is None else percentile) / 100
        bounds = quantile_interval(self.samples_ns, share, self.conditions.confidence)
        return Interval(low=bounds.low / NS_PER_MS, high=bounds.high / NS_PER_MS)

    def ratio_interval(self, seed: int = 0) -> Interval:
        """Bound the ratio of medians by bootstrap; the same seed gives the same bounds.

        Raises:
            MeasureError: there was no baseline.
        """
        self._require_baseline()
        generator = np.random.default_rng(seed)
        return ratio_interval(self.student_ns, self.baseline_ns, self.conditions.confidence, generator)

    def metrics(self) -> dict[str, float]:
        """Give what was measured under the names of `constraint.METRICS`; what was not measured is absent."""
        found = {
            "latency_ms": self.latency_ms,
            "weights_mib": self.weights_bytes / BYTES_PER_MIB,
            "activation_peak_mib": self.activation_peak_bytes / BYTES_PER_MIB,
        }
        if self.baseline_ns:
            found["latency_ratio"] = self.ratio
        if self.peak_rss_bytes is not None:
            found["peak_rss_mib"] = self.peak_rss_bytes / BYTES_PER_MIB
        return found

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
            student_ns=self.student_ns + other.student_ns,
            baseline_ns=self.baseline_ns + other.baseline_ns,
            settled=self.settled and other.settled,
            load_average=(self.load_average[0], other.load_average[1]),
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
    first, last = record.pop("load_average")
    student, baseline = (
        tuple(tuple(map(int, block)) for block in record.pop(name)) for name in ("student_ns", "baseline_ns")
    )
    return Measurement(
        conditions=Conditions(machine=machine, **conditions),
        student_ns=student,
        baseline_ns=baseline,
        load_average=(first, last),
        **record,
    )
