"""The form in which a network ships and is measured: nothing in it that its device need not compute."""

from __future__ import annotations

from deploycompress.graph import Graph
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.surgery.merge_linear import merge_linear
from deploycompress.surgery.repeats import without_repeats


def shipped_form(graph: Graph) -> Graph:
    """Fold batch norms, drop repeated activations, merge linear layers; the function stays the same in inference."""
    return merge_linear(without_repeats(fold_batch_norm(graph)))
