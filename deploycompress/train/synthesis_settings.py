"""What goes into making images without data and what comes out, as records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import UsageError
from deploycompress.train.compute import Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSettings:
    """How images are made.

    Attributes:
        batch_size: images that together must have the statistics; fewer than 64 say little about a variance.
        fit_iterations: updates of the colours, which all images share.
        iterations: updates of every image; with 0 the images stay drawings in the right colours.
        rate: learning rate of Adam, in deviations of the pixels.
        class_weight: of the cross-entropy to the class that an image is to show; classifiers only. With 0 they show
            what they like: on ResNet-20 the statistics alone spread them over all classes (7 to 15 % each), while a
            weight of 0.03 made every image adversarial (confidence 0.999) and kept the statistics from fitting.
        compute: where and in which arithmetic; `None` takes what the machine does best.
    """

    batch_size: int = 256
    fit_iterations: int = 40
    iterations: int = 20
    rate: float = 0.05
    class_weight: float = 0.0
    compute: Compute | None = None

    def __post_init__(self) -> None:
        if not self.batch_size >= 2:
            raise UsageError(f"The batch of synthesis is {self.batch_size} images; expected two or more.")
        for name in ("fit_iterations", "iterations", "class_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"The synthesis setting {name} is {getattr(self, name)}; expected zero or more.")
        if not 0 < self.rate < float("inf"):
            raise UsageError(f"The synthesis setting rate is {self.rate}; expected a positive number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """Images made without data, and how well they fit the network.

    Attributes:
        images: in the network's input space, float32 [N, H, W, C].
        mismatch_noise: distance of white noise to the running statistics (`synthesis_loss.mismatch`).
        mismatch_drawn: the same of the drawings in fitted colours, before images are changed one by one.
        mismatch: the same of the images.
        target_share: share of the images in which the network sees the class it was to see, in [0, 1]; `None` for
            networks that are no classifiers, and where nothing drew them to a class.
        norms: batch norms whose statistics were matched.
        batches: batches made.
        seconds: wall time.
    """

    images: NDArray[np.float32]
    mismatch_noise: float
    mismatch_drawn: float
    mismatch: float
    target_share: float | None
    norms: int
    batches: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisProgress:
    """Where synthesis stands after a batch.

    Attributes:
        images: made so far.
        count: images wanted.
        mismatch: of the last batch.
    """

    images: int
    count: int
    mismatch: float


OnSynthesis = Callable[[SynthesisProgress], None]
