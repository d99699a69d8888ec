"""Refuses absurd sizes before anything allocates them."""

from __future__ import annotations

import math

from deploycompress.capturing.view import view_at
from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Shape

LARGEST_TENSOR = 1 << 30  # elements; 4 GiB as float32
LARGEST_IMAGE_SIDE = 65535  # what JPEG ends at; signals of one dimension may be longer
IMAGE_AXES = 4  # batch and channels with them


def refuse_huge_tensors(draft: Graph) -> None:
    """Refuse a model that computes a tensor of absurd size.

    Raises:
        ModelError: a tensor has more than `LARGEST_TENSOR` elements at batch one, or an image an absurd side.
    """
    for port in draft.inputs:
        longest = max((axis for axis in port.shape if isinstance(axis, int)), default=0)
        if len(port.shape) >= IMAGE_AXES and longest > LARGEST_IMAGE_SIDE:
            raise ModelError(
                f"Input {port.name!r} has shape {port.shape}, over {LARGEST_IMAGE_SIDE} along an axis; "
                "the file is damaged, or --input-shape is far too large."
            )
    for node in draft.nodes:  # first those that inferring shapes might fill
        sizes = draft.weights.get(node.input(0))
        if node.op == "ConstantOfShape" and sizes is not None:
            _refuse_if_huge(node.outputs[0], tuple(sizes.tolist()))
    for name, (shape, _) in view_at(draft, (1, 1)).shapes.items():
        _refuse_if_huge(name, shape)


def _refuse_if_huge(name: str, shape: Shape) -> None:
    if math.prod(shape) > LARGEST_TENSOR:
        raise ModelError(
            f"Tensor {name!r} would have {math.prod(shape)} elements, over {LARGEST_TENSOR}; "
            "the file is damaged, or --input-shape is far too large."
        )
