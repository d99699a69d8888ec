"""What a few images give without training: channel scores, statistics, layers that make up for what was cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploycompress.channels.records import Channels
from deploycompress.execute.stages import StageTimer
from deploycompress.graph import UNKNOWN_SIZE
from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.compute import Compute
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.layer_pair import LayerPair
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.refit import refit
from deploycompress.train.refit_settings import RefitReport

Mask = NDArray[np.bool_]

_SCORING_BYTES = 2**31
_LEAST_BATCH, _MOST_BATCH = 8, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm:
    """Draws its images from the training data by the seed, the same each time.

    Attributes:
        task: has the data.
        compute: where.
        timer: counts the seconds.
        seed: decides which images.
    """

    task: TaskData
    compute: Compute
    timer: StageTimer
    seed: int

    def recalibrate(self, module: GraphModule, *, images: int) -> None:
        """Give a cut network's batch norms the statistics of what now flows through them."""
        with self.timer.stage("recover"):
            recalibrate(module.to(self.compute.device), self._batches(images), compute=self.compute)

    def refit(
        self, module: GraphModule, teacher: GraphModule, pairs: Sequence[LayerPair], *, images: int
    ) -> RefitReport:
        """Fit a cut network's layers to what its teacher's make; norms get their statistics on the way."""
        device = self.compute.device
        with self.timer.stage("recover"):
            return refit(module.to(device), teacher.to(device), pairs, self._batches(images))

    def score(
        self, criterion: Criterion, module: GraphModule, channels: Channels, kept: Mask, *, images: int
    ) -> NDArray[np.float64]:
        """Score channels by number, shape [count + 1]; minus infinity for those that are cut already."""
        ties = [replace(tie, channels=tie.channels[kept[tie.channels]]) for tie in channels.ties]
        axes = {name: (axis, numbers[kept[numbers]]) for name, (axis, numbers) in channels.axes.items()}
        # other images than those of the statistics, which would flatter the channels they know
        batches = replace(self, seed=self.seed + 1)._batches(images, batch_size=_scored_at_a_time(module))
        with self.timer.stage("score"):
            placed = module.to(self.compute.device)
            scores = score_channels(criterion, placed, ties, channels.count, batches, axes=axes)
        scores[~kept] = -np.inf
        return scores

    def _batches(self, images: int, *, batch_size: int = 256) -> Iterator[Batch]:
        return calibration_batches(
            self.task.training,
            self.task.normalization,
            generator=np.random.default_rng(self.seed),
            samples=images,
            batch_size=batch_size,
            device=self.compute.device,
        )


def _scored_at_a_time(module: GraphModule) -> int:
    """Bound what gradients keep: every value of the network, for each image of a batch."""
    shapes = module.source_graph.shapes
    values = [shapes[name] for node in module.source_graph.nodes for name in node.outputs if name in shapes]
    kept = sum(4 * int(np.prod(shape)) for shape in values if UNKNOWN_SIZE not in shape)
    return max(_LEAST_BATCH, min(_MOST_BATCH, _SCORING_BYTES // max(kept, 1)))
