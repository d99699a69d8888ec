"""Half precision: weights and arithmetic of 16 bits, inputs and outputs of 32."""

from __future__ import annotations

from collections.abc import Collection

from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.quantize.half_operators import why_not_half
from deploycompress.quantize.layers import layer_of
from deploycompress.quantize.support import require_float


def half(shipped: Graph, *, higher: Collection[str] = ()) -> Graph:
    """Write a network in half precision.

    Args:
        shipped: float network in the form that ships.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.

    Raises:
        ModelError: the network is quantised already.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    require_float(shipped)
    single = [node.name for node in shipped.nodes if layer_of(node, shipped) in higher or why_not_half(node, shipped)]
    model = convert_float_to_float16(shipped.to_onnx(), keep_io_types=True, op_block_list=[], node_block_list=single)
    ordered = ONNXModel(model)
    ordered.topological_sort()  # the converter appends what it adds
    return graph_from_onnx(ordered.model)
