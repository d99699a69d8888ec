"""Reads feature maps at places that the network computes."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn import functional as F

from deploycompress.network.operator import Kernel, NodeContext, Operator

# Opset 20 renamed the modes and opened them to any number of axes.
_MODES: Mapping[str, str] = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}
_PADDINGS = ("zeros", "border", "reflection")


def _grid_sample(context: NodeContext) -> Kernel:
    asked, padding = context.text("mode", "linear"), context.text("padding_mode", "zeros")
    aligned, spatial = bool(context.attribute("align_corners", 0)), context.rank() - 2
    if asked not in _MODES or padding not in _PADDINGS:
        raise context.refuse(
            f"samples by {asked!r} with padding {padding!r}; known paddings are {', '.join(_PADDINGS)}"
        )
    mode = _MODES[asked]
    if spatial not in (2, 3) or (mode == "bicubic" and spatial == 3):
        raise context.refuse(f"samples {spatial} axes by {asked!r}; known are 2, and 3 by 'linear' and 'nearest'")
    return lambda x, grid: F.grid_sample(x, grid, mode, padding, aligned)


SAMPLING = {
    "GridSample": Operator(
        build=_grid_sample, known=22, attributes=frozenset({"align_corners", "mode", "padding_mode"})
    ),
}
