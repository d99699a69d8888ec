"""How far a batch is from what a network's batch norms remember of the data they were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deploycompress.errors import DataError, ModelError
from deploycompress.network.constants import find_constants
from deploycompress.network.module import GraphModule

_DEFAULT_EPSILON = 1e-5  # ONNX, BatchNormalization


@dataclass(frozen=True, slots=True, kw_only=True)
class NormTarget:
    """What one batch norm remembers of its input.

    Attributes:
        value: name of the tensor that enters the norm.
        mean: running mean, float32 [C].
        variance: running variance and the norm's epsilon, float32 [C], positive.
    """

    value: str
    mean: Tensor
    variance: Tensor


def norm_targets(module: GraphModule) -> tuple[NormTarget, ...]:
    """Copy the running statistics of every batch norm of a network, as they are now.

    Args:
        module: unchanged.

    Returns:
        One target per norm, in the order of the graph.

    Raises:
        DataError: there is no batch norm, so the network remembers nothing of its data.
        ModelError: statistics are not finite, or a variance is negative.
    """
    root = find_constants(module.source_graph).root
    buffers, keys = dict(module.named_buffers()), module.state_keys()
    targets = []
    for node in module.source_graph.nodes:
        if node.op == "BatchNormalization" and node.is_standard:
            mean, variance = (buffers[keys[root(node.inputs[index])]].detach().float().clone() for index in (3, 4))
            epsilon = float(node.attributes.get("epsilon", _DEFAULT_EPSILON))
            if not (mean.isfinite().all() and variance.isfinite().all() and (variance + epsilon > 0).all()):
                raise ModelError(
                    f"The running statistics of batch norm {node.name!r} are not finite or not positive; expected "
                    "those of a trained network. Train or export the model again."
                )
            targets.append(NormTarget(value=node.inputs[0], mean=mean, variance=variance + epsilon))
    if not targets:
        raise DataError(
            "The network has no batch norms (they may have been folded when it was exported), so nothing in it tells "
            "what its images look like. Give images with --data; labels are not needed."
        )
    return tuple(targets)


def mismatch(targets: Sequence[NormTarget], values: Mapping[str, Tensor]) -> Tensor:
    """Compare a batch with the running statistics, on the scale of each channel.

    Per channel, `(m - mean)^2 / variance + (s / sqrt(variance) - 1)^2` with the batch's own mean m and deviation s,
    averaged over the channels of a norm and over the norms; the statistics of DeepInversion (Yin et al. 2020, eq. 4)
    and ZeroQ (Cai et al. 2020, eq. 2), divided by the deviation so that no layer counts for more because its numbers
    are larger.

    Args:
        targets: at least one.
        values: what enters the norms, [B, C, ...], by name.

    Returns:
        A scalar, 0 where every channel fits.
    """
    return torch.stack([_distance(target, values[target.value]) for target in targets]).mean()


def _distance(target: NormTarget, value: Tensor) -> Tensor:
    dims = [axis for axis in range(value.ndim) if axis != 1]
    variance, mean = torch.var_mean(value.float(), dim=dims, correction=0)
    ratio = (variance + 1e-8 * target.variance).sqrt() / target.variance.sqrt()
    return ((mean - target.mean).square() / target.variance + (ratio - 1).square()).mean()
