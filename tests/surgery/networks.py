"""Small networks, one for each pattern that can be taken out whole, on images of shape [3, 8, 8]."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.surgery.blocks import Block
from tests.build import NetBuilder, start

IMAGE = (3, 8, 8)


def head(net: NetBuilder, x: str) -> Graph:
    """Close a network with pooling and a linear layer."""
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=IMAGE)


def identity_skips() -> Graph:
    net = start(1)
    x = net.op("Relu", net.norm(net.conv("x", 6)))
    for _ in range(2):
        y = net.op("Relu", net.norm(net.conv(x, 6, bias=False)))
        x = net.op("Relu", net.op("Add", net.norm(net.conv(y, 6, bias=False)), x))
    return head(net, x)


def projected_skip() -> Graph:
    net = start(2)
    x = net.op("Relu", net.conv("x", 6))
    main = net.norm(net.conv(net.op("Relu", net.conv(x, 8, stride=2)), 8))
    return head(net, net.op("Add", main, net.norm(net.conv(x, 8, kernel=1, stride=2))))


def padded_skip() -> Graph:
    net = start(3)
    x = net.conv("x", 4)
    main = net.conv(net.op("Relu", net.conv(x, 8, stride=2)), 8)
    return head(net, net.op("Add", net.widen_with_zeros(x, 2, 2), main))


def pooled_skip() -> Graph:
    net = start(4)
    x = net.conv("x", 6)
    pooled = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return head(net, net.op("Sum", pooled, net.conv(net.op("Elu", net.conv(x, 6, stride=2)), 6)))


def scaled_branch() -> Graph:
    """A branch with a learned scale per channel at its end, as in ConvNeXt."""
    net = start(5)
    x = net.conv("x", 6)
    y = net.conv(net.op("Tanh", net.depthwise(x)), 6, kernel=1)
    scale = net.normal("scale.weight", 6, 1, 1)
    return head(net, net.op("Add", net.op("Mul", scale, y, width=6), x))


def several_steps() -> Graph:
    """Two sums in a row over one skip, and a residual inside a residual."""
    net = start(6)
    x = net.conv("x", 6)
    first = net.op("Add", x, net.conv(net.op("Relu", x), 6, kernel=1))
    second = net.op("Add", first, net.conv(net.op("Tanh", x), 6, kernel=1))
    inner = net.conv(second, 6, kernel=1)
    inner = net.op("Add", inner, net.conv(net.op("Relu", inner), 6))
    return head(net, net.op("Add", second, net.conv(inner, 6, kernel=1)))


def sum_of_three() -> Graph:
    net = start(7)
    x = net.conv("x", 6)
    return head(net, net.op("Sum", net.conv(net.op("Relu", x), 6), x, net.conv(net.op("Tanh", x), 6, kernel=1)))


def squeeze_excite() -> Graph:
    net = start(8)
    x = net.op("HardSwish", net.conv("x", 6))
    return head(net, net.op("Relu", net.squeeze_excite(x, 3)))


def spatial_gate() -> Graph:
    net = start(9)
    x = net.op("Relu", net.conv("x", 6))
    gate = net.op("Sigmoid", net.conv(x, 1, kernel=7))
    return head(net, net.op("Mul", gate, x, width=6))


def inception() -> Graph:
    net = start(10)
    x = net.op("Relu", net.conv("x", 6))
    pooled = net.conv(net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 2, kernel=1)
    deep = net.op("Relu", net.conv(net.op("Relu", net.conv(x, 3, kernel=1)), 5))
    split = net.op("Concat", net.conv(x, 2), net.depthwise(net.conv(x, 3)), axis=1, width=5)
    return head(net, net.conv(net.op("Concat", deep, split, pooled, axis=1, width=12), 7))


def densely_connected() -> Graph:
    net = start(11)
    features = [net.conv("x", 4)]
    for _ in range(3):
        joined = net.op("Concat", *features, axis=1, width=sum(net.width[name] for name in features))
        joined = joined if len(features) > 1 else features[0]
        features.append(net.conv(net.op("Relu", net.norm(net.conv(net.op("Relu", net.norm(joined)), 6, kernel=1))), 3))
    joined = net.op("Concat", *features, axis=1, width=13)
    return head(net, net.op("Relu", net.norm(joined)))


def plain_layers() -> Graph:
    """Layers that keep the shape: convolution, depthwise, grouped, transposed, linear, with what follows them."""
    net = start(12)
    x = net.op("Relu", net.norm(net.conv("x", 6)))
    x = net.op("Relu", net.norm(net.conv(x, 6, bias=False)))
    x = net.op("LeakyRelu", net.depthwise(x))
    x = net.norm(net.op("Relu", net.conv(x, 6, group=2)))
    x = net.transposed(x, 6)
    x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    x = net.op("Relu", net.linear(x, 6))
    turned = net.op("Transpose", net.normal("turned.weight", 6, 6), perm=[1, 0], width=6)
    x = net.op("Relu", net.op("Add", net.normal("turned.bias", 6), net.op("MatMul", x, turned), width=6))
    return net.finish(net.linear(x, 5), input_shape=IMAGE)


def activations() -> Graph:
    net = start(13)
    x = net.conv("x", 6)
    x = net.op("Mul", x, net.op("Sigmoid", x))
    x = net.conv(x, 5)
    x = net.op("PRelu", x, net.normal("slope.weight", 5, 1, 1))
    x = net.conv(x, 6)
    x = net.op("Clip", x, net.weight("low", np.asarray(0, np.float32)), net.weight("high", np.asarray(6, np.float32)))
    x = net.conv(x, 5)
    shifted = net.op("Clip", net.op("Add", x, net.weight("three", np.asarray(3, np.float32))), "low", "high")
    x = net.op("Div", net.op("Mul", x, shifted), net.weight("six", np.asarray(6, np.float32)))
    return head(net, x)


def norms() -> Graph:
    net = start(14)
    x = net.instance_norm(net.conv("x", 6))
    x = net.op("LRN", net.norm(net.conv(x, 5)), size=3)
    x = net.op("Transpose", x, perm=[0, 2, 3, 1])
    x = net.op("LayerNormalization", x, net.normal("layer.weight", 5), net.normal("layer.bias", 5), axis=-1)
    x = decomposed_layer_norm(net, x, 5)
    return head(net, net.op("Transpose", x, perm=[0, 3, 1, 2]))


def decomposed_layer_norm(net: NetBuilder, x: str, width: int) -> str:
    """Append a layer norm in the spelling of exporters before operator set 17."""
    centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
    square = net.op("Pow", centred, net.weight(f"two{len(net.nodes)}", np.asarray(2, np.float32)))
    variance = net.op("ReduceMean", square, axes=[-1])
    deviation = net.op(
        "Sqrt", net.op("Add", variance, net.weight(f"eps{len(net.nodes)}", np.asarray(1e-5, np.float32)))
    )
    name = f"spelled{len(net.nodes)}"
    scaled = net.op("Mul", net.op("Div", centred, deviation), net.normal(f"{name}.weight", width))
    return net.op("Add", scaled, net.normal(f"{name}.bias", width))


def gelu(net: NetBuilder, x: str) -> str:
    """Append GELU as exporters write it out."""
    number = len(net.nodes)
    scaled = net.op("Div", x, net.weight(f"root{number}", np.asarray(2**0.5, np.float32)))
    shifted = net.op("Add", net.op("Erf", scaled), net.weight(f"one{number}", np.asarray(1, np.float32)))
    return net.op("Mul", net.op("Mul", x, shifted), net.weight(f"half{number}", np.asarray(0.5, np.float32)))


def tanh_gelu(net: NetBuilder, x: str) -> str:
    """Append the approximation of GELU with a hyperbolic tangent."""
    number = len(net.nodes)
    cube = net.op("Pow", x, net.weight(f"three{number}", np.asarray(3, np.float32)))
    inner = net.op("Add", x, net.op("Mul", cube, net.weight(f"small{number}", np.asarray(0.044715, np.float32))))
    curve = net.op("Tanh", net.op("Mul", inner, net.weight(f"ratio{number}", np.asarray(0.79788456, np.float32))))
    shifted = net.op("Add", curve, net.weight(f"one{number}", np.asarray(1, np.float32)))
    return net.op("Mul", net.op("Mul", x, net.weight(f"half{number}", np.asarray(0.5, np.float32))), shifted)


def transformer() -> Graph:
    """Two encoder layers with two heads over 16 tokens of width 8."""
    net = start(15)
    x = net.op("Reshape", net.conv("x", 8, stride=2), net.integers(0, 8, 16))
    x = net.op("Transpose", x, perm=[0, 2, 1])
    x = net.op("Add", x, net.normal("position", 1, 16, 8))
    for number in range(2):
        x = net.op("Add", x, _attention(net, _layer_norm(net, x, f"attention{number}.norm"), f"attention{number}"))
        hidden = _dense(net, _layer_norm(net, x, f"mlp{number}.norm"), f"mlp{number}.up", 8, 12)
        hidden = (gelu, tanh_gelu)[number](net, hidden)
        x = net.op("Add", x, _dense(net, hidden, f"mlp{number}.down", 12, 8))
    x = net.op("ReduceMean", x, axes=[1], keepdims=0)
    net.width[x] = 8
    return net.finish(net.linear(x, 5), input_shape=IMAGE)


def _layer_norm(net: NetBuilder, x: str, name: str) -> str:
    return net.op("LayerNormalization", x, net.normal(f"{name}.weight", 8), net.normal(f"{name}.bias", 8), axis=-1)


def _dense(net: NetBuilder, x: str, name: str, inputs: int, outputs: int) -> str:
    weight = net.op("Transpose", net.normal(f"{name}.weight", outputs, inputs), perm=[1, 0], width=outputs)
    return net.op("Add", net.normal(f"{name}.bias", outputs), net.op("MatMul", x, weight))


def _attention(net: NetBuilder, x: str, name: str) -> str:
    parts = []
    for part in ("query", "key", "value"):
        split = net.op("Reshape", _dense(net, x, f"{name}.{part}", 8, 8), net.integers(0, 16, 2, 4))
        parts.append(net.op("Transpose", split, perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3]))
    scores = net.op("Softmax", net.op("MatMul", parts[0], parts[1]), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", scores, parts[2]), perm=[0, 2, 1, 3])
    return _dense(net, net.op("Reshape", mixed, net.integers(0, 16, 8)), f"{name}.out", 8, 8)


def two_ends() -> Graph:
    """Two inputs and two outputs; one output is the other before its activation."""
    rng = np.random.default_rng(16)
    net = NetBuilder(rng, width={"x": 3, "y": 3})
    x = net.conv("x", 4)
    y = net.conv("y", 4)
    joined = net.op("Add", x, net.conv(net.op("Relu", y), 4))
    inner = net.norm(net.op("Add", joined, net.conv(net.op("Relu", joined), 4)))
    last = net.op("Relu", inner)
    return _with_ports(net, ["x", "y"], [inner, last])


def control_flow() -> Graph:
    """A branch whose subgraphs read a tensor around them by name."""
    net = start(17)
    x = net.conv("x", 4)
    inner = net.op("Relu", net.conv(x, 4))
    outside = net.op("Relu", net.conv(inner, 4))
    condition = net.weight("condition", np.array(True))
    same = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 8, 8]) for name in ("then", "else")]
    then = helper.make_graph([helper.make_node("Identity", [inner], ["then"])], "then", [], [same[0]])
    other = helper.make_graph([helper.make_node("Neg", [inner], ["else"])], "else", [], [same[1]])
    chosen = net.op("If", condition, then_branch=then, else_branch=other, width=4)
    return head(net, net.op("Add", x, net.op("Add", outside, net.conv(chosen, 4))))


def _with_ports(net: NetBuilder, inputs: list[str], outputs: list[str]) -> Graph:
    model = helper.make_model(
        helper.make_graph(
            net.nodes,
            "test",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *IMAGE]) for name in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in net.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    return graph_from_onnx(model)


NETWORKS = {
    make.__name__: make
    for make in (
        *(identity_skips, projected_skip, padded_skip, pooled_skip, scaled_branch, several_steps, sum_of_three),
        *(squeeze_excite, spatial_gate, inception, densely_connected, plain_layers, activations, norms, transformer),
        *(two_ends, control_flow),
    )
}


def block_parameters(graph: Graph, block: Block) -> int:
    """Count the elements of the real-valued constants that go with a block alone."""
    inside = set(block.nodes)
    goes = {name for node in graph.nodes if node.name in inside for name in node.reads}
    stays = {name for node in graph.nodes if node.name not in inside for name in node.reads}
    return sum(
        graph.weights[name].size
        for name in goes - stays
        if name in graph.weights and graph.weights[name].dtype.kind == "f"
    )
