"""Static quantisation: a float network with known ranges of values becomes an 8-bit graph.

How a scale follows from a range is as `onnxruntime.quantization.quantize_static` does it, and so is what is rounded
where activations are asymmetric; tests hold this against it. Where they are symmetric, that function puts a pair before
each Relu and Clip as well, and here there is none in any form: TensorRT joins a Relu with the layer before it, but ONNX
Runtime's CPU provider then leaves both in float. The function is not called, because it knows no trainable form to come
back from, works on files, and takes a second for what a search does for every candidate.
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
from deploycompress.quantize.entry_channels import padded_entries
from deploycompress.quantize.finish import fold_pairs
from deploycompress.quantize.hard_gates import integer_gates
from deploycompress.quantize.layers import require_layers
from deploycompress.quantize.placement import Placement, place
from deploycompress.quantize.ranges import Ranges
from deploycompress.quantize.shield import shielded
from deploycompress.quantize.shortcuts import convolved_shortcuts
from deploycompress.quantize.support import require_float, require_opset, require_single
from deploycompress.quantize.write import write_pairs


def quantized(
    shipped: Graph, ranges: Ranges, form: Int8Format, *, higher: Collection[str] = (), trainable: bool = False
) -> Graph:
    """Write a network as pairs of QuantizeLinear and DequantizeLinear (Nagel et al. 2021, section 2).

    Args:
        shipped: float network in the form that ships.
        ranges: between which values each activation lies.
        form: how the device wants 8-bit graphs.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.
        trainable: whether weights stay float32 behind pairs and biases stay float32, for `qdq_pairs` and training;
            otherwise weights are int8, and biases int32 where the form rounds them.

    Raises:
        ModelError: the network has a lower precision already, or its operator set is older than 13.
        PlanError: `higher` names what is no layer of the network.
        DataError: an activation that is rounded has no range.
    """
    require_float(shipped)
    require_single(shipped)
    require_opset(shipped)
    graph = with_plain_weights(shipped)
    require_layers(higher, graph)
    graph = convolved_shortcuts(graph, place(graph, higher).nodes)
    placement = place(graph, higher)
    producers = graph.producers()
    activations = {
        name: within(activation_affine(*ranges.of(name), form), bounds_of(producers.get(name), graph))
        for name, owner in placement.scaled_as.items()
        if owner == name
    }
    written = write_pairs(graph, placement, activations, _weight_affines(graph, placement, form))
    return written if trainable else _folded(written, form)


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
    graph = _folded(trainable, form)
    limit = largest_weight_code(form)
    for name, array in graph.weights.items():
        if array.dtype == np.int8 and array.ndim > 1 and np.abs(array.astype(np.int16)).max(initial=0) > limit:
            raise VerificationError(
                f"{name!r} has codes beyond {limit} in magnitude, the largest of this form; the scale of a weight is "
                f"its largest magnitude divided by {limit}."
            )
    return graph


def _folded(trainable: Graph, form: Int8Format) -> Graph:
    """Round weights, and what else the form rounds.

    The other steps are for ONNX Runtime's CPU provider, and forms with float biases are other providers'; the shield is
    made of what those are to avoid.
    """
    folded = fold_pairs(trainable, quantized_bias=form.quantized_bias)
    return integer_gates(padded_entries(shielded(folded))) if form.quantized_bias else folded


def layer_affine(weight: Array, axis: int, form: Int8Format) -> Affine:
    """Choose the scales of a layer's weight, whose outputs go along an axis."""
    return weight_affine(weight, scale_axis(axis, weight.ndim, form), form)


def scale_axis(axis: int, ndim: int, form: Int8Format) -> int | None:
    """Give the axis of a weight that has scales of its own; stacks of matrices and vectors have one scale."""
    return axis if form.per_channel and ndim > 1 and (ndim == 2 or axis == 0) else None


def _weight_affines(graph: Graph, placement: Placement, form: Int8Format) -> dict[tuple[str, int], Affine]:
    return {
        (layer.weight, layer.axis): layer_affine(graph.weights[layer.weight], layer.axis, form)
        for layer in placement.layers
    }
