"""Histograms of magnitudes that grow with what they see, and where to cut them off.

`onnxruntime.quantization` has both as well. Its search for the entropy limit takes seconds per tensor at more bins than
codes, and finds nothing at its default of as many bins as codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deploycompress.graph import Array

BINS = 2048
CODES = 128
"""Magnitudes that 8 bits tell apart where signs are kept."""
PERCENTILE = 99.99


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudeHistogram:
    """Counts of nonzero magnitudes in equal bins from zero to a limit, a power of two times the first one.

    Zeros are left out: they are rounded without error wherever the cut lies, and after a Relu they are half of all.

    Attributes:
        counts: shape [BINS].
        limit: upper edge of the last bin.
    """

    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))
    limit: float = 0.0

    def with_values(self, values: Array) -> MagnitudeHistogram:
        """Count more values, any shape, finite."""
        magnitudes = np.abs(values[values != 0])
        largest = float(magnitudes.max(initial=0.0))
        if not largest:
            return self
        counts, limit = self.counts, self.limit or largest
        while limit < largest:
            counts = np.concatenate([counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            limit *= 2
        positions = np.minimum((magnitudes / np.float32(limit) * BINS).astype(np.int32), BINS - 1)
        return MagnitudeHistogram(counts=counts + np.bincount(positions, minlength=BINS), limit=limit)


def percentile_limit(histogram: MagnitudeHistogram, percentile: float = PERCENTILE) -> float:
    """Give the upper edge of the bin in which a percentile of the magnitudes is reached."""
    reached = np.cumsum(histogram.counts) / histogram.counts.sum()
    return histogram.limit * (int(np.searchsorted(reached, percentile / 100)) + 1) / BINS


def entropy_limit(histogram: MagnitudeHistogram) -> float:
    """Cut where the rounded distribution is closest to the one seen (Migacz 2017, 8-bit inference with TensorRT).

    For each cut, the distribution with everything beyond counted in the last bin is compared with the one whose bins
    are merged to as many levels as there are codes and spread out again, by the Kullback-Leibler divergence.
    """
    cuts = range(CODES, BINS + 1, BINS // CODES)
    losses = [_divergence(histogram.counts, cut) for cut in cuts]
    return histogram.limit * cuts[int(np.argmin(losses))] / BINS


def _divergence(counts: Array, cut: int) -> float:
    kept = counts[:cut].astype(np.float64)
    if not kept.any():
        return float("inf")
    seen = kept.copy()
    seen[-1] += counts[cut:].sum()
    starts = (np.arange(CODES) * cut) // CODES
    level = np.repeat(np.arange(CODES), np.diff(np.append(starts, cut)))
    merged, occupied = np.add.reduceat(kept, starts), np.add.reduceat(kept > 0, starts, dtype=np.float64)
    spread = np.where(kept > 0, merged[level] / np.maximum(occupied[level], 1), 0)
    # What was cut off falls into a bin that may be empty; a small share keeps the divergence finite, and large.
    smooth = 1e-9
    p, q = seen / seen.sum(), spread / spread.sum()
    p, q = p[p > 0], np.maximum(q[p > 0], smooth)
    return float((p * np.log(p / q)).sum())
