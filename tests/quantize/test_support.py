import numpy as np
import pytest

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node
from deploycompress.precision import Precision
from deploycompress.quantize.layers import layers
from deploycompress.quantize.support import kept_single, require_float
from deploycompress.surgery.shipped import shipped_form
from tests.build import NetBuilder, residual_net, start
from tests.quantize.runs import in_int8


def test_residual_network_goes_to_every_precision_whole() -> None:
    graph = shipped_form(residual_net())

    for precision in Precision:
        assert kept_single(graph, precision) == {}


def test_layers_are_named_by_their_weights() -> None:
    assert layers(shipped_form(residual_net())) == (
        *(f"conv{index}" for index in (0, 3, 6, 10, 13, 17, 22)),
        "linear28",
    )


def kept_of(build: object, *, precision: Precision = Precision.INT8) -> dict[str, str]:
    net = start()
    assert callable(build)
    x = build(net, net.op("Relu", net.conv("x", 8)))
    return dict(kept_single(net.finish(net.conv(x, 4), input_shape=(3, 8, 8)), precision))


def odd_gemm(net: NetBuilder, x: str) -> str:
    flat = net.op("Flatten", x, axis=1)
    made = net.op("Gemm", flat, net.normal("odd.weight", 8 * 64, 8), alpha=2.0)
    return net.op("Reshape", made, net.integers(-1, 8, 1, 1))


def infinite(net: NetBuilder, x: str) -> str:
    made = net.conv(x, 8)
    net.weights["conv2.weight"][0, 0, 0, 0] = np.inf
    return made


def computed_bias(net: NetBuilder, x: str) -> str:
    means = net.op("ReduceMean", x, axes=[0, 2, 3], keepdims=0)
    return net.op("Conv", x, net.normal("own.weight", 8, 8, 1, 1), means, kernel_shape=[1, 1])


@pytest.mark.parametrize(
    ("build", "name", "reason"),
    [
        (lambda net, x: net.transposed(x, 8), "transposed2", "ConvTranspose has no 8-bit kernel"),
        (lambda net, x: net.instance_norm(x), "InstanceNormalization_2", "InstanceNormalization is computed in float"),
        (lambda net, x: net.op("HardSwish", x), "HardSwish_2", "HardSwish is computed in float"),
        (odd_gemm, "odd", "Gemm has alpha = 2.0, expected 1.0"),
        (infinite, "conv2", "its weight holds infinite values or NaN"),
        (computed_bias, "own", "its bias is computed, expected a constant"),
    ],
)
def test_what_stays_in_float_is_named(build: object, name: str, reason: str) -> None:
    found = kept_of(build)

    assert found[name].startswith(reason)


def test_half_precision_keeps_other_operators() -> None:
    def outermost(net: NetBuilder, x: str) -> str:
        return net.op("Max", x, net.op("Relu", x))

    assert kept_of(outermost, precision=Precision.FP16) == {"Max_3": "Max is not computed in half precision"}


def test_half_precision_keeps_layers_with_larger_weights() -> None:
    def large(net: NetBuilder, x: str) -> str:
        made = net.conv(x, 8)
        net.weights["conv2.weight"][0, 0, 0, 0] = 1e5
        return made

    assert kept_of(large, precision=Precision.FP16) == {
        "conv2": "it holds the constant 1e+05, beyond the 65504 of 16 bits"
    }


def test_half_precision_names_layers_behind_a_transpose() -> None:
    net = start(channels=12)
    weight = net.normal("fc.weight", 4, 12)
    net.weights[weight][0, 0] = 1e5
    graph = net.finish(net.op("MatMul", "x", net.op("Transpose", weight, perm=[1, 0])), input_shape=(12,))

    assert set(kept_single(graph, Precision.FP16)) == {"fc"}


@pytest.mark.parametrize(
    "op", ["QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "QGemm", "MatMulNBits"]
)
def test_quantised_models_are_refused_by_name(op: str) -> None:
    graph = residual_net()
    node = Node(name="there", op=op, inputs=("x",), outputs=("y",), domain="com.microsoft")
    done = Graph(
        nodes=(*graph.nodes, node),
        weights=graph.weights,
        inputs=graph.inputs,
        outputs=graph.outputs,
        shapes=graph.shapes,
        opset=17,
        ir_version=8,
    )

    with pytest.raises(ModelError, match=f"node 'there' is {op}. Give the float model"):
        require_float(done)


def test_float_model_is_not_refused() -> None:
    require_float(residual_net())
    with pytest.raises(ModelError):
        require_float(in_int8(shipped_form(residual_net()), trainable=True))
