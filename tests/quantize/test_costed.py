from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.precision import Precision
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.costed import costed_form
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import layers
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import FORM, computed, images, in_int8


def mobile_net() -> Graph:
    net = start()
    low, high = net.weight("low", np.asarray(0, np.float32)), net.weight("high", np.asarray(6, np.float32))
    x = net.op("HardSwish", net.conv("x", 8))
    y = net.op("Clip", net.conv(x, 16, kernel=1), low, high)
    y = net.squeeze_excite(net.op("Clip", net.depthwise(y), low, high), 4)
    x = net.op("Add", net.conv(y, 8, kernel=1), x)
    return net.finish(net.linear(net.op("Flatten", net.op("GlobalAveragePool", x), axis=1), 5), input_shape=(3, 8, 8))


def structure(graph: Graph) -> list[tuple[Any, ...]]:
    """Every node with its attributes and what it reads: element type and shape of constants, names of the rest."""
    kinds = {name: (array.dtype.name, array.shape) for name, array in graph.weights.items()}
    return [
        (node.op, sorted(node.attributes.items()), [kinds.get(name, name) for name in node.inputs], node.outputs)
        for node in graph.nodes
    ]


@pytest.mark.parametrize("make", [lambda: shipped_form(residual_net()), mobile_net])
@pytest.mark.parametrize("form", [FORM, Int8Format(activations="int8", symmetric_activations=True, per_channel=False)])
def test_costed_form_is_built_as_what_ships(make: Any, form: Int8Format) -> None:
    graph = make()
    for higher in ((), layers(graph)[1:3]):
        costed = costed_form(graph, Precision.INT8, form, higher=higher)
        shipped = in_int8(graph, form, higher=higher)

        assert structure(costed) == structure(shipped)
        assert costed.shapes == shipped.shapes


@pytest.mark.parametrize("make", [lambda: shipped_form(residual_net()), mobile_net])
def test_onnxruntime_runs_the_same_kernels(make: Any, tmp_path: Path) -> None:
    graph = make()

    assert computed(costed_form(graph, Precision.INT8, FORM), tmp_path) == computed(
        in_int8(graph, batch=3 * images()), tmp_path
    )


def test_single_precision_is_the_graph_itself() -> None:
    graph = residual_net()

    assert costed_form(graph, Precision.FP32, FORM) is graph


def test_half_precision_is_what_ships() -> None:
    graph = shipped_form(residual_net())
    higher = layers(graph)[:1]

    assert costed_form(graph, Precision.FP16, FORM, higher=higher).digest() == half(graph, higher=higher).digest()
