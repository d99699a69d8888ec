"""Decides for each layer of a student what it shall match in the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.graph import Graph
from deploycompress.train.layer_pair import LayerPair
from deploycompress.train.linear_layer import LinearLayer, linear_layers, places_of
from deploycompress.train.matching import Match, matching_values
from deploycompress.train.placement import Placement, placement
from deploycompress.views import constant_views

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerJob:
    """One layer to fit.

    Attributes:
        layer: the layer in the student.
        place: what follows it there.
        target: the teacher's value that its result shall match.
        channels: position in that value of each of the layer's output channels.
        beside: value of the student that is added to the result before it is compared; empty for none.
    """

    layer: LinearLayer
    place: Placement
    target: str
    channels: Positions
    beside: str


def plan_jobs(
    student: Graph, teacher: Graph, pairs: Sequence[LayerPair], *, matches_stream: bool
) -> tuple[list[LayerJob], dict[str, str]]:
    """Choose targets for all layers.

    Returns:
        Jobs in the order of the pairs, and why other layers of the student have none, by kernel.
    """
    skipped = dict.fromkeys(_transposed(student), "transposed convolutions are not fitted")
    mine, theirs = linear_layers(student), linear_layers(teacher)
    matches = matching_values(student, teacher, pairs) if matches_stream else {}
    order = {name: index for index, node in enumerate(student.nodes) for name in node.outputs}
    skipped.update(dict.fromkeys(mine, "the teacher's same layer was not found"))
    jobs: list[LayerJob] = []
    for pair in pairs:
        layer = mine[pair.weight]
        place, other = placement(student, layer), placement(teacher, theirs[pair.weight])
        is_last = matches_stream and bool(place.total) and order.get(place.beside, -1) < order[layer.output]
        for target, beside in _choices(place, other, matches, pair.outputs, is_last=is_last):
            if places_of(student, layer, place.result) == places_of(teacher, layer, target) is not None:
                jobs.append(LayerJob(layer=layer, place=place, target=target, channels=pair.outputs, beside=beside))
                del skipped[pair.weight]
                break
        else:
            skipped[pair.weight] = (
                "the teacher's same layer makes values of another form: in size, norm or added constant"
            )
    return jobs, skipped


def _transposed(graph: Graph) -> list[str]:
    views = constant_views(graph)
    kernels = [node.input(1) for node in graph.nodes if node.op == "ConvTranspose" and node.is_standard]
    return [views[name].constant for name in kernels if name in views]


def _choices(
    place: Placement, other: Placement, matches: Mapping[str, Match], channels: Positions, *, is_last: bool
) -> list[tuple[str, str]]:
    """List targets with what is added beside, the best first.

    What later layers read comes first, for there removed blocks have left their traces; then the sum that the teacher's
    own layer adds to, where this layer is the last to add; then its own result, if that is of the same form.
    """
    found = []
    for name, beside in ((place.result, ""), (place.total, place.beside)):
        match = matches.get(name)
        if match is not None and np.array_equal(match.channels, channels) and (is_last or not beside):
            found.append((match.value, beside))
    if is_last and other.total:
        found.append((other.total, place.beside))
    has_same_form = (bool(place.norm), bool(place.added)) == (bool(other.norm), bool(other.added))
    return [*found, (other.result, "")] if has_same_form else found
