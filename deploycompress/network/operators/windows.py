"""Arithmetic of sliding windows that convolution and pooling share: pads, output sizes, one axis at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from deploycompress.network.operator import NodeContext

WINDOW_ATTRIBUTES = frozenset({"auto_pad", "dilations", "kernel_shape", "pads", "strides"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A window sliding along one spatial axis."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def extent(self) -> int:
        """Distance covered by one window."""
        return self.dilation * (self.kernel - 1) + 1

    def steps(self, *, ceil: bool) -> int:
        """Count the windows; one that would start in the pads behind the data is not counted."""
        room = self.size + self.before + self.after - self.extent
        count = (-(-room // self.stride) if ceil else room // self.stride) + 1
        if ceil and (count - 1) * self.stride >= self.size + self.before:
            count -= 1
        return count


def window_axes(context: NodeContext, kernel: tuple[int, ...]) -> tuple[Axis, ...]:
    """Read strides, dilations and pads of a node for each spatial axis.

    Args:
        context: node whose first input is [B, C, ...spatial].
        kernel: size of the window per spatial axis.

    Raises:
        ModelError: `auto_pad` is unknown, or the numbers do not fit the axes.
    """
    sizes = [context.size(0, axis) for axis in range(2, context.rank())]
    count = len(sizes)
    strides = context.ints("strides", [1] * count)
    dilations = context.ints("dilations", [1] * count)
    pads = context.ints("pads", [0] * 2 * count)
    if not len(kernel) == len(strides) == len(dilations) == count or len(pads) != 2 * count:
        raise context.refuse(f"has window settings that do not fit its {count} spatial axes")
    mode = context.text("auto_pad", "NOTSET")
    found = []
    for position, (size, width, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        before, after = pads[position], pads[count + position]
        if mode == "VALID":
            before = after = 0
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size // stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
            after = total - before
        elif mode != "NOTSET":
            raise context.refuse(f"has auto_pad {mode!r}; known are NOTSET, VALID, SAME_UPPER, SAME_LOWER")
        found.append(Axis(size=size, kernel=width, stride=stride, dilation=dilation, before=before, after=after))
    return tuple(found)


def torch_pads(pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Order (before, after) pairs of the last axes as torch's pad wants them: the last axis first."""
    return list(chain.from_iterable(reversed(list(pairs))))
