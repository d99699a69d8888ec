"""What the policies see of a layer: N2N's x_t, on scales that do not depend on how deep or wide the network is.

A policy that learnt on ResNet-20 reads ResNet-56 with the same eyes. The paper's x_t has no place in the network; here
it has one, relative and in a few waves, because blocks of equal layers are otherwise told apart only after long
training, and a search has a hundred students, not a hundred epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploycompress.search.space import Dimension, Kernel, Layer, Space

VERSION = 1
KINDS = ("conv", "depthwise", "linear", "pool", "other")
WAVES = (1, 2, 4, 8)  # half periods over the depth
FEATURES = (
    *(f"is_{kind}" for kind in KINDS),
    "kernel",
    "stride",
    "padding",
    "outputs",
    "skip_start",
    "skip_end",
    *(f"place_{waves}" for waves in WAVES),
)
KERNEL_SCALE = 7.0
STRIDE_SCALE = 2.0
PADDING_SCALE = 3.0
OUTPUTS_SCALE = 4.0  # powers of two between the widest layer and the stem of usual networks
DECISION_FEATURES = (*FEATURES, "is_kernel", "previous_action")

Row = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing the shrinkage policy decides about.

    Attributes:
        name: channel group, or layer of a kernel.
        is_kernel: whether the extent of a kernel is decided, not the width of a group.
        sizes: widths or extents it may have, ascending; the last is the teacher's.
        layer: index of its first layer.
    """

    name: str
    is_kernel: bool
    sizes: tuple[int, ...]
    layer: int


def layer_features(space: Space) -> tuple[Row, ...]:
    """Describe every layer of a network.

    Returns:
        One row of `FEATURES` per layer, shape [T, F].
    """
    widest = max((layer.outputs for layer in space.layers), default=1)
    last = max(len(space.layers) - 1, 1)
    return tuple(_row(layer, widest, index / last) for index, layer in enumerate(space.layers))


def decisions(space: Space, gone: frozenset[int]) -> tuple[Decision, ...]:
    """List what the shrinkage policy decides, in the order of the graph; groups and kernels that went are left out."""
    groups = (_of_group(one) for one in space.free if not (one.layers and gone.issuperset(one.layers)))
    kernels = (_of_kernel(one) for one in space.kernels if one.index not in gone and len(one.sizes) > 1)
    return tuple(sorted((*groups, *kernels), key=lambda one: (one.layer, one.is_kernel)))


def decision_features(space: Space, asked: tuple[Decision, ...]) -> tuple[Row, ...]:
    """Describe every decision by its first layer and what is decided; the previous action is appended by the policy.

    Returns:
        One row per decision, shape [D, F + 1].
    """
    rows = layer_features(space) or (_row(Layer(name="", kind="other"), 1, 0.0),)
    return tuple((*rows[one.layer], float(one.is_kernel)) for one in asked)


def _row(layer: Layer, widest: int, place: float) -> Row:
    kind = layer.kind if layer.kind in KINDS else KINDS[-1]
    skipped = layer.skip_start + layer.skip_end
    return (
        *(float(kind == known) for known in KINDS),
        layer.kernel / KERNEL_SCALE,
        layer.stride / STRIDE_SCALE,
        layer.padding / PADDING_SCALE,
        math.log2(max(layer.outputs, 1) / widest) / OUTPUTS_SCALE,
        layer.skip_start / skipped if skipped else 0.0,
        layer.skip_end / skipped if skipped else 0.0,
        *(math.cos(math.pi * waves * place) for waves in WAVES),
    )


def _of_group(dimension: Dimension) -> Decision:
    first = min(dimension.layers, default=0)
    return Decision(name=dimension.group, is_kernel=False, sizes=dimension.widths, layer=first)


def _of_kernel(kernel: Kernel) -> Decision:
    return Decision(name=kernel.layer, is_kernel=True, sizes=kernel.sizes, layer=kernel.index)
