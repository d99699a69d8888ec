"""Writes adaptive pooling as pooling ONNX has: the exporter knows only sizes that divide, and only some of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Pool = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """What an adaptive pool does: the pool it adapts, over how many axes, and whether it takes the mean."""

    plain: Pool
    axes: int
    is_mean: bool


KINDS: Mapping[Pool, Adaptive] = {
    F.adaptive_avg_pool1d: Adaptive(plain=F.avg_pool1d, axes=1, is_mean=True),
    F.adaptive_avg_pool2d: Adaptive(plain=F.avg_pool2d, axes=2, is_mean=True),
    F.adaptive_avg_pool3d: Adaptive(plain=F.avg_pool3d, axes=3, is_mean=True),
    F.adaptive_max_pool1d: Adaptive(plain=F.max_pool1d, axes=1, is_mean=False),
    F.adaptive_max_pool2d: Adaptive(plain=F.max_pool2d, axes=2, is_mean=False),
    F.adaptive_max_pool3d: Adaptive(plain=F.max_pool3d, axes=3, is_mean=False),
}


@final
class PlainPooling(TorchFunctionMode):
    """While it is entered, adaptive pooling of inputs of known size runs as plain pooling, or as slices."""

    def __torch_function__(  # Any: torch's own signature
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace adaptive pools, and leave every other function alone."""
        options = dict(kwargs or {})
        kind = KINDS.get(func)
        if kind is None or options.pop("return_indices", False) or len(args) + len(options) != 2:
            return func(*args, **(kwargs or {}))
        return _pooled(kind, func, *args, **options)


def _pooled(kind: Adaptive, adaptive: Pool, input: Tensor, output_size: Any) -> Tensor:  # Any: an int or several
    wanted = (output_size,) * kind.axes if isinstance(output_size, int) else tuple(output_size)
    present = tuple(int(size) for size in input.shape[-kind.axes :])
    sizes = tuple(size if goal is None else int(goal) for goal, size in zip(wanted, present, strict=True))
    if kind.is_mean and all(size == 1 for size in sizes):
        return adaptive(input, sizes)
    if all(before % after == 0 for before, after in zip(present, sizes, strict=True)):
        kernel = tuple(before // after for before, after in zip(present, sizes, strict=True))
        return kind.plain(input, kernel, kernel)
    x = input
    for offset, (before, after) in enumerate(zip(present, sizes, strict=True)):
        if before != after:
            x = _pooled_along(x, offset - kind.axes, before, after, is_mean=kind.is_mean)
    return x


def _pooled_along(x: Tensor, axis: int, before: int, after: int, *, is_mean: bool) -> Tensor:
    """Pool one axis; window i reaches from floor(i * before / after) to ceil((i + 1) * before / after)."""
    parts = []
    for index in range(after):
        start, end = index * before // after, -((index + 1) * before // -after)
        window = x.narrow(axis, start, end - start)
        parts.append(window.mean(axis, keepdim=True) if is_mean else window.amax(axis, keepdim=True))
    return torch.cat(parts, axis)
