"""Between which values each activation of a network lies, measured on training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deploycompress.errors import DataError
from deploycompress.graph import Array, Graph
from deploycompress.quantize.histogram import MagnitudeHistogram, entropy_limit, percentile_limit
from deploycompress.quantize.placement import place
from deploycompress.quantize.running import only_input, values_seen
from deploycompress.quantize.support import plain_single


class RangeMethod(StrEnum):
    """How a range follows from the values seen.

    Attributes:
        MIN_MAX: all of them lie in it.
        ENTROPY: magnitudes are cut off where the distribution changes least (Migacz 2017).
        PERCENTILE: 99.99 % of the magnitudes lie in it.
    """

    MIN_MAX = "min_max"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Ranges of a network's activations.

    Attributes:
        limits: lowest and highest value by tensor name.
    """

    limits: Mapping[str, tuple[float, float]]

    def of(self, tensor: str) -> tuple[float, float]:
        """Give the lowest and highest value of a tensor.

        Raises:
            DataError: it has no range.
        """
        if tensor not in self.limits:
            raise DataError(f"Tensor {tensor!r} has no range; take the ranges on the graph that is quantised.")
        return self.limits[tensor]


def find_ranges(shipped: Graph, batches: Iterable[Array], *, method: RangeMethod = RangeMethod.MIN_MAX) -> Ranges:
    """Measure the ranges of everything that 8-bit graphs of a network round.

    Args:
        shipped: float network with one input, in the form that ships.
        batches: normalised training images, float32 [B, C, H, W]. Never images that a result is judged on.
        method: how ranges follow from the values.

    Raises:
        DataError: there are no batches, they do not fit, or an activation is infinite or NaN.
        ModelError: the network has a lower precision already.
    """
    graph = plain_single(shipped)
    source = only_input(graph).name
    tensors = [name for name, owner in place(graph, ()).scaled_as.items() if name != source]
    seen = {name: _Seen(name=name, has_histogram=method is not RangeMethod.MIN_MAX) for name in [source, *tensors]}
    for name, values in values_seen(graph, tensors, batches):
        seen[name] = seen[name].with_values(values)
    if any(not tensor.count for tensor in seen.values()):
        raise DataError("There are no calibration images; give --data, some hundred training images are enough.")
    return Ranges(limits={name: tensor.limits(method) for name, tensor in seen.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What is known of a tensor's values so far."""

    name: str
    has_histogram: bool
    count: int = 0
    low: float = float("inf")
    high: float = -float("inf")
    magnitudes: MagnitudeHistogram | None = None

    def with_values(self, values: Array) -> _Seen:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DataError(
                f"Activation {self.name!r} reaches {high if np.isfinite(low) else low} on the calibration images, "
                "expected finite values; check the model, and the normalisation of the images."
            )
        histogram = (self.magnitudes or MagnitudeHistogram()).with_values(values) if self.has_histogram else None
        return _Seen(
            name=self.name,
            has_histogram=self.has_histogram,
            count=self.count + values.size,
            low=min(low, self.low),
            high=max(high, self.high),
            magnitudes=histogram,
        )

    def limits(self, method: RangeMethod) -> tuple[float, float]:
        if self.magnitudes is None or self.low == self.high:
            return self.low, self.high
        cut = entropy_limit if method is RangeMethod.ENTROPY else percentile_limit
        limit = cut(self.magnitudes)
        return max(self.low, -limit), min(self.high, limit)
