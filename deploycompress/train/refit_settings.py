"""What goes into a refit and what comes out, as records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deploycompress.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitSettings:
    """How layers are fitted.

    Attributes:
        ridges: how strongly kernels may hold on to what they were, as shares of the mean square of what they read; the
            held-out images choose among them.
        rows: output positions looked at for each layer, over all images; all of them where there are no more.
        most_unknowns: layers with larger filters are left alone, for the square of this many numbers is held.
        most_bytes: what the values of both networks may take, by estimate; images beyond that are not used.
        matches_stream: whether layers that add to a residual stream are fitted to the whole stream.
        seed: decides which positions.
    """

    ridges: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    rows: int = 8192
    most_unknowns: int = 8192
    most_bytes: int = 2**31
    matches_stream: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.ridges or not all(0 < ridge < math.inf for ridge in self.ridges):
            raise UsageError(f"The refit setting ridges is {self.ridges}; expected positive numbers.")
        for name in ("rows", "most_unknowns", "most_bytes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"The refit setting {name} is {getattr(self, name)}; expected a positive number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFit:
    """What became of one layer.

    Attributes:
        weight: name of its kernel.
        before: root of the squared error over that of what was to be matched, on held-out images, with the old kernel.
        after: the same with the new kernel.
        kept: whether the new kernel stays, which it does where it lowers the error.
    """

    weight: str
    before: float
    after: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitReport:
    """What became of all layers.

    Attributes:
        layers: those that were looked at, in order.
        skipped: why others were not, by the name of their kernel.
        images: how many were used, those that judge included.
        seconds: wall time.
    """

    layers: tuple[LayerFit, ...]
    skipped: Mapping[str, str]
    images: int
    seconds: float
