"""Reconstruction: which share of what leaves the reading layers would be missing without the channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.observation import Observation, observations
from deploycompress.train.criteria.readers import Reader, contributions, pull_back
from deploycompress.train.criteria.ties import Scores

PROBES = 8
_ROUNDING = 1e-5  # deviation relative to the size of a float32 output below which it says nothing


def reconstruction_scores(
    module: GraphModule,
    readers: Sequence[Reader],
    channel_count: int,
    batches: Iterable[Batch],
    *,
    probes: int = PROBES,
    seed: int = 0,
) -> Scores:
    """Score a channel by the squared error its absence makes in what reads it, in units of the layer's variance.

    In a layer z = W x the error without channel c is E ||W_c (x_c - E x_c)||^2 / E ||z - E z||^2 (what He 2017, eq. 1,
    makes small, for one channel and with the weights as they are), added up over all layers that read the channel. Its
    mean does not count, for batch norm statistics or a bias take that part over after surgery.

    ||y||^2 is the mean of <v, y>^2 over random signs v (Hutchinson 1990), and <v, W_c x_c> of all channels takes one
    pass of v back through the layer. That holds for every layer that is linear in what it reads, needs no matrix of
    second moments, and has a relative standard error of about sqrt(2 / (probes * images)).

    Args:
        module: the network.
        readers: the layers that read channels.
        channel_count: number of channels C; they are numbered from one.
        batches: normalised images [B, ...]; labels are not used. Means are taken batch by batch.
        probes: sign vectors per image.
        seed: decides the signs.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        DataError: an image is not finite, or there is none.
        ModelError: a value on the way is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    total, count = torch.zeros(channel_count + 1, dtype=torch.float64), 0
    for seen in observations(module, readers, batches):
        for reader in readers:
            total += seen.samples * _missing_share(seen, reader, channel_count, probes, generator).cpu()
        count += seen.samples
    return (total / count).numpy()


def _missing_share(
    seen: Observation, reader: Reader, channel_count: int, probes: int, generator: torch.Generator
) -> Tensor:
    source, output = seen.values[reader.source], seen.values[reader.output]
    energy = output.detach().square().sum(dtype=torch.float64)
    variance = _centred(output.detach(), reader.output_axis).square().sum(dtype=torch.float64)
    varying = _centred(source.detach(), reader.axis)
    total = torch.zeros(channel_count + 1, dtype=torch.float64, device=source.device)
    if variance <= _ROUNDING**2 * energy:
        return total  # the layer says the same whatever it reads
    for _ in range(probes):
        pulled = pull_back(source, output, _signs(output, generator))
        projected = contributions(reader, varying, pulled, samples=seen.samples, channel_count=channel_count)
        total += projected.square().sum(dim=0)
    return total / (probes * variance)


def _centred(value: Tensor, axis: int) -> Tensor:
    """Subtract from each position along an axis its mean over all others."""
    others = [other for other in range(value.ndim) if other != axis % value.ndim]
    return value - value.mean(dim=others, keepdim=True)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    coins = torch.randint(2, like.shape, generator=generator, dtype=torch.int8)
    return coins.to(like.device, like.dtype) * 2 - 1
