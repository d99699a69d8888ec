"""Which labels are the same channel: connected components, vectorised."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.records import Numbers


def components(count: int, left: Numbers, right: Numbers) -> Numbers:
    """Find the smallest label connected to each label.

    Args:
        count: number of labels.
        left: one end of each edge, shape [E].
        right: other end of each edge, shape [E].

    Returns:
        Representative of each label, shape [count]: the smallest label of its component.
    """
    parent = np.arange(count, dtype=np.int64)
    while True:
        ends = parent[left], parent[right]
        lower = np.minimum(*ends)
        if (ends[0] == ends[1]).all():
            return parent
        for end in ends:
            np.minimum.at(parent, end, lower)
        while True:
            jumped = parent[parent]
            if (jumped == parent).all():
                break
            parent = jumped
