"""Models measured in the same rounds, with whatever else was asked about each of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.evaluation import Evidence
from deploycompress.measuring.interval import Interval
from deploycompress.measuring.measurement import BYTES_PER_MIB, Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.regression import COUNTED
from deploycompress.pipeline.subject import Subject

RSS_READINGS = 3  # the pages that a process touches differ a little from one to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one model was found to be.

    Attributes:
        measurement: of the model, beside the first of the models if it is another one.
        counts: `params` and `macs`, where asked for.
        peak_rss: resident memory in bytes, in several fresh processes; empty where not asked for.
    """

    measurement: Measurement
    counts: dict[str, float]
    peak_rss: tuple[int, ...]

    @property
    def peak_rss_bytes(self) -> int | None:
        """The middle one of the readings of resident memory; None where there are none."""
        return statistics.median_low(self.peak_rss) if self.peak_rss else None

    @property
    def peak_rss_interval(self) -> Interval | None:
        """The least and the largest reading of resident memory, in bytes; None where there are none."""
        return Interval(low=min(self.peak_rss), high=max(self.peak_rss)) if self.peak_rss else None

    @property
    def bounds(self) -> dict[str, Interval]:
        """Intervals, by the names that limits use, of what was sampled beside the measurement."""
        found = self.peak_rss_interval
        return {} if found is None else {"peak_rss_mib": found.scaled(1 / BYTES_PER_MIB)}

    def figure(self, quantity: str) -> Interval:
        """Say where the value of a quantity that may regress lies.

        Raises:
            KeyError: it was not asked for.
        """
        found = self.measurement
        if quantity == "latency":
            return found.latency_interval_ms(50)
        if quantity == "peak_rss" and self.peak_rss_interval is not None:
            return self.peak_rss_interval
        exact = {
            **self.counts,
            "weights": found.weights_bytes,
            "file": found.file_bytes,
            "activation_peak": found.activation_peak_bytes,
        }[quantity]
        return Interval(low=float(exact), high=float(exact))

    def evidence(self, quantity: str) -> Evidence:
        """Say how the value of a quantity came to be."""
        if quantity in COUNTED:
            return Evidence.ANALYTIC
        return self.measurement.activation_evidence if quantity == "activation_peak" else self.measurement.evidence

    def metrics(self, teacher: Reading | None) -> dict[str, float]:
        """Give everything that limits may read, under the names they use; ratios only beside a teacher."""
        found = self.measurement
        metrics = {**found.metrics(), **self.counts}
        metrics.pop("latency_ratio", None)
        if self.peak_rss_bytes is not None:
            metrics["peak_rss_mib"] = self.peak_rss_bytes / BYTES_PER_MIB
        return metrics if teacher is None else metrics | self._ratios(teacher)

    def _ratios(self, teacher: Reading) -> dict[str, float]:
        found, other = self.measurement, teacher.measurement
        return {
            "latency_ratio": found.ratio,
            "file_ratio": found.file_bytes / other.file_bytes,
            "activation_peak_ratio": found.activation_peak_bytes / max(other.activation_peak_bytes, 1),
            **{f"{name}_ratio": count / max(teacher.counts[name], 1) for name, count in self.counts.items()},
        }


def take_readings(
    meter: Meter,
    subjects: Sequence[Subject],
    *,
    starts: int,
    max_seconds: float | None,
    counts: bool = False,
    rss: bool = False,
) -> tuple[Reading, ...]:
    """Measure models in the same rounds; the first is the baseline of all others.

    Args:
        meter: measures, on one board.
        subjects: the models, of one shape of input.
        starts: number of fresh processes.
        max_seconds: when enough is enough, over all processes; None for the profile's.
        counts: count parameters and multiply-accumulates, too.
        rss: measure resident memory, too, several times.

    Raises:
        MeasureError: the device is not available, or a model could not be measured there.
        ModelError: a model is not fit for the profile's runtime, or cannot be counted.
    """
    shape = subjects[0].loading.input_shape
    measured = meter.measure_together(
        [subject.data for subject in subjects], max_seconds=max_seconds, starts=starts, input_shape=shape
    )
    return tuple(
        Reading(
            measurement=found,
            counts=subject.counts() if counts else {},
            peak_rss=tuple(
                meter.peak_rss_bytes(subject.data, input_shape=shape) for _ in range(RSS_READINGS if rss else 0)
            ),
        )
        for subject, found in zip(subjects, measured, strict=True)
    )
