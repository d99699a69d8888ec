"""Refuses absurd sizes before anything allocates them."""

from __future__ import annotations

import math

from deploycompress.capturing.view import view_at
from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Shape

LARGEST_TENSOR = 1 << 30  # elements; 4 GiB as float32


def refuse_huge_tensors(draft: Graph) -> None:
    """Refuse a model that computes a tensor of absurd size.

    Raises:
        ModelError: a tensor has more than `LARGEST_TENSOR` elements at batch one.
    """
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
