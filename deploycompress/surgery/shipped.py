"""The form in which a network ships and is measured: nothing in it that its device need not compute."""

from __future__ import annotations

from deploycompress.graph import Graph
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.surgery.repeats import without_repeats


def shipped_form(graph: Graph) -> Graph:
    """Fold batch norms and drop repeated activations; the function stays the same in inference."""
    return without_repeats(fold_batch_norm(graph))
