"""Passes of calibration batches through a network, with the values that its readers read and compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from deploycompress.network.module import GraphModule
from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.finite import check_count, check_finite, check_images
from deploycompress.train.criteria.readers import Reader
from deploycompress.train.losses import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One batch's way through the network; everything is part of one autograd graph, unless gradients are off.

    Attributes:
        outputs: what the network answers.
        labels: class numbers [B], none where they are not known.
        values: what readers read and compute, by name.
        samples: number of images B.
    """

    outputs: Outputs
    labels: Tensor | None
    values: dict[str, Tensor]
    samples: int


def observations(module: GraphModule, readers: Sequence[Reader], batches: Iterable[Batch]) -> Iterator[Observation]:
    """Run batches in evaluation mode and look at what the readers read and compute.

    The network is left as it was: its mode is put back, and neither statistics nor gradients are touched.

    Raises:
        DataError: an image holds NaN or infinity, or there is no batch.
        ModelError: a value on the way does.
    """
    names = tuple(dict.fromkeys(name for reader in readers for name in (reader.source, reader.output)))
    count = 0
    for images, labels in batches:
        check_images(images)
        with evaluation_mode(module):
            # an input that asks for gradients makes every value part of the autograd graph, frozen weights or not
            outputs, values = module.observe(names, images.detach().requires_grad_())
        for name, value in values.items():
            check_finite(f"Value {name!r} of the network", value)
        count += 1
        yield Observation(outputs=outputs, labels=labels, values=values, samples=len(images))
    check_count(count)
