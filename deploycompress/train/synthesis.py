"""Makes images for a network whose data nobody has, from what its batch norms remember of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from deploycompress.errors import DataError
from deploycompress.graph import UNKNOWN_SIZE, Graph
from deploycompress.network.module import GraphModule
from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.compute import placed_on, training_compute
from deploycompress.train.distil_settings import Deadline
from deploycompress.train.synthesis_colour import Colours, fit_colours
from deploycompress.train.synthesis_prior import dead_leaves
from deploycompress.train.synthesis_settings import OnSynthesis, Synthesis, SynthesisProgress, SynthesisSettings
from deploycompress.train.synthesis_update import Memory, Sight, update_drawings

_FIT_IMAGES = 64
_LEAST_BATCH = 8  # below, a batch's statistics say little even where each image has many pixels
_MOST_BYTES = 2**31  # of activations kept for the gradient
_BYTES = 4


def synthesise(
    module: GraphModule,
    *,
    count: int,
    input_shape: tuple[int, int, int],
    generator: torch.Generator,
    settings: SynthesisSettings,
    on_progress: OnSynthesis | None = None,
    deadline: Deadline | None = None,
) -> Synthesis:
    """Draw pictures of nothing, and change them until every batch norm sees the statistics it remembers.

    Matching statistics is DeepInversion (Yin et al. 2020) and ZeroQ (Cai et al. 2020), which start from noise and need
    hundreds of updates per image. These images start as dead leaves in colours fitted to the network: on ResNet-20
    the mismatch of white noise is 0.77, of such drawings 0.08, after 20 updates 0.016, and of training images 0.021.

    Args:
        module: the network; its weights, statistics, modes and gradients are left as they are.
        count: images wanted.
        input_shape: of one image: (C, H, W).
        generator: a CPU generator; decides everything.
        settings: how.
        on_progress: told after each batch.
        deadline: gives the seconds that remain; once there are none no batch is begun, so that there may be
            fewer images than wanted, but at least one batch.

    Returns:
        The images, with how well they fit.

    Raises:
        DataError: the network has no batch norms, or several inputs.
        ModelError: its statistics are not finite, or its answers to finite images are not.
    """
    started = time.monotonic()
    _check_inputs(module)
    compute = settings.compute or training_compute()
    with placed_on(compute.device, module), evaluation_mode(module):
        studio = _Studio(
            memory=Memory(module, compute),
            shape=input_shape,
            batch_size=_batch_size(module.source_graph, settings, count),
            generator=generator,
            settings=settings,
        )
        noise = torch.randn(studio.batch_size, *input_shape, generator=generator).to(compute.device)
        mismatch_noise = studio.memory.look(noise).mismatch
        batches = _make_batches(studio, count, on_progress=on_progress, deadline=deadline)
    shares = [batch.target_share for batch in batches if batch.target_share is not None]
    return Synthesis(
        images=torch.cat([batch.images for batch in batches])[:count].permute(0, 2, 3, 1).contiguous().numpy(),
        mismatch_noise=mismatch_noise,
        mismatch_drawn=fmean(batch.before.mismatch for batch in batches),
        mismatch=fmean(batch.after.mismatch for batch in batches),
        target_share=fmean(shares) if shares else None,
        norms=len(studio.memory.targets),
        batches=len(batches),
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Studio:
    memory: Memory
    shape: tuple[int, int, int]
    batch_size: int
    generator: torch.Generator
    settings: SynthesisSettings

    def draw(self, count: int) -> Tensor:
        return dead_leaves(count, self.shape, generator=self.generator).to(self.memory.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    images: Tensor
    before: Sight
    after: Sight
    target_share: float | None


def _make_batches(
    studio: _Studio, count: int, *, on_progress: OnSynthesis | None, deadline: Deadline | None
) -> list[_Batch]:
    drawings = studio.draw(min(_FIT_IMAGES, studio.batch_size))
    colours = fit_colours(drawings, studio.memory.distance, iterations=studio.settings.fit_iterations)
    batches: list[_Batch] = []
    while len(batches) * studio.batch_size < count and not (batches and _is_over(deadline)):
        batches.append(_make_batch(studio, colours))
        if on_progress:
            made = min(len(batches) * studio.batch_size, count)
            on_progress(SynthesisProgress(images=made, count=count, mismatch=batches[-1].after.mismatch))
    return batches


def _make_batch(studio: _Studio, colours: Colours) -> _Batch:
    settings = studio.settings
    drawings = studio.draw(studio.batch_size)
    before = studio.memory.look(colours.paint(drawings))
    targets = None
    if before.classes and settings.class_weight > 0:
        order = torch.randperm(studio.batch_size, generator=studio.generator)
        targets = (order % before.classes).to(drawings.device)
    changed = update_drawings(drawings, targets, memory=studio.memory, colours=colours, settings=settings)
    images = colours.paint(changed)
    after = studio.memory.look(images)
    share = None if targets is None else float((after.answers.argmax(dim=1) == targets).float().mean())
    return _Batch(images=images.cpu(), before=before, after=after, target_share=share)


def _batch_size(graph: Graph, settings: SynthesisSettings, count: int) -> int:
    """Bound a batch by the memory that gradients need, and by the images wanted."""
    elements = sum(math.prod(shape) for shape in graph.shapes.values() if UNKNOWN_SIZE not in shape)
    fitting = max(_LEAST_BATCH, _MOST_BYTES // (_BYTES * max(elements, 1)))
    return min(settings.batch_size, fitting, max(count, _FIT_IMAGES))


def _check_inputs(module: GraphModule) -> None:
    inputs = module.source_graph.inputs
    if len(inputs) != 1:
        raise DataError(
            f"The network has {len(inputs)} inputs ({', '.join(port.name for port in inputs)}); images can be made up "
            "for one only. Give data with --data."
        )


def _is_over(deadline: Deadline | None) -> bool:
    remaining = deadline() if deadline else None
    return remaining is not None and remaining <= 0
