"""Static quantisation: a float network with known ranges of values becomes an 8-bit graph.

What is rounded, and how the scale follows from a range, is as `onnxruntime.quantization.quantize_static` does it; tests
hold this against it. That function is not called, because it knows no trainable form to come back from, works on files,
and takes a second for what a search does for every candidate.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from deploycompress.errors import VerificationError
from deploycompress.graph import Array, Graph
from deploycompress.network.qdq_pairs import bounds_of, largest_weight_code
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.affine import Affine, activation_affine, weight_affine, within
from deploycompress.quantize.constants import with_plain_weights
from deploycompress.quantize.finish import fold_pairs
from deploycompress.quantize.placement import Placement, place
from deploycompress.quantize.ranges import Ranges
from deploycompress.quantize.shield import shielded
from deploycompress.quantize.support import require_float, require_opset
from deploycompress.quantize.write import write_pairs


def quantized(
    shipped: Graph, ranges: Ranges, form: Int8Format, *, higher: Collection[str] = (), trainable: bool = False
) -> Graph:
    """Write a network as pairs of QuantizeLinear and DequantizeLinear (Nagel et al. 2021, section 2).

    Args:
        shipped: float network in the form that ships.
        ranges: between which values each activation lies.
        form: how the device wants 8-bit graphs.
        higher: layers that stay in single precision, by the name of their weight without `.weight`. Names that no layer
            has are left aside, because a layer may have gone with its block.
        trainable: whether weights stay float32 behind pairs and biases stay float32, for `qdq_pairs` and training;
            otherwise weights are int8 and biases int32.

    Raises:
        ModelError: the network is quantised already, or its operator set is older than 13.
        DataError: an activation that is rounded has no range.
    """
    require_float(shipped)
    require_opset(shipped)
    graph = with_plain_weights(shipped)
    placement = place(graph, higher)
    producers = graph.producers()
    activations = {
        name: within(activation_affine(*ranges.of(name), form), bounds_of(producers.get(name), graph))
        for name, owner in placement.scaled_as.items()
        if owner == name
    }
    written = write_pairs(graph, placement, activations, _weight_affines(graph, placement, form))
    return written if trainable else shielded(fold_pairs(written))


def finished(trainable: Graph, form: Int8Format) -> Graph:
    """Turn a trainable 8-bit graph into the one that ships.

    Args:
        trainable: from `quantized(..., trainable=True)`, with weights, biases, scales and zero points of any values.
        form: how the device wants 8-bit graphs.

    Returns:
        What `quantized` gives for the same values: it is made in this very way.

    Raises:
        VerificationError: a weight got a code that the form does not allow, because its scale did not follow it.
    """
    graph = shielded(fold_pairs(trainable))
    limit = largest_weight_code(form)
    for name, array in graph.weights.items():
        if array.dtype == np.int8 and array.ndim > 1 and np.abs(array.astype(np.int16)).max(initial=0) > limit:
            raise VerificationError(
                f"{name!r} has codes beyond {limit} in magnitude, the largest of this form; the scale of a weight is "
                f"its largest magnitude divided by {limit}."
            )
    return graph


def layer_affine(weight: Array, axis: int, form: Int8Format) -> Affine:
    """Choose the scales of a layer's weight, whose outputs go along an axis."""
    return weight_affine(weight, scale_axis(axis, weight.ndim, form), form)


def scale_axis(axis: int, ndim: int, form: Int8Format) -> int | None:
    """Give the axis of a weight that has scales of its own; stacks of matrices have one scale."""
    return axis if form.per_channel and (ndim == 2 or axis == 0) else None


def _weight_affines(graph: Graph, placement: Placement, form: Int8Format) -> dict[tuple[str, int], Affine]:
    return {
        (layer.weight, layer.axis): layer_affine(graph.weights[layer.weight], layer.axis, form)
        for layer in placement.layers
    }
