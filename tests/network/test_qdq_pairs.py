import numpy as np

from deploycompress.network.qdq_pairs import bounds_of, largest_weight_code, qdq_pairs
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.static import finished
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import FORM, in_int8


def test_every_weight_and_rounded_activation_is_listed_once() -> None:
    graph = in_int8(shipped_form(residual_net()), trainable=True)
    pairs = qdq_pairs(graph)

    assert len({pair.value for pair in pairs}) == len(pairs)
    assert sum(pair.is_weight for pair in pairs) == 8 + 1  # the shortcut, too
    assert len(pairs) == sum(node.op == "QuantizeLinear" for node in graph.nodes)


def test_scales_are_named_after_what_they_belong_to() -> None:
    for pair in qdq_pairs(in_int8(shipped_form(residual_net()), trainable=True)):
        if pair.is_owner:
            assert (pair.scale, pair.zero_point) == (f"{pair.value}.scale", f"{pair.value}.zero_point")
        assert pair.rounded == f"{pair.value}.dequantized"


def test_each_owner_has_a_scale_of_its_own() -> None:
    owners = [pair for pair in qdq_pairs(in_int8(shipped_form(residual_net()), trainable=True)) if pair.is_owner]

    assert len({pair.scale for pair in owners}) == len(owners)


def test_weights_have_the_axis_of_their_scales() -> None:
    graph = in_int8(shipped_form(residual_net()), trainable=True)
    for pair in qdq_pairs(graph):
        if pair.is_weight:
            assert pair.axis == 0
            assert graph.weights[pair.scale].shape == (len(graph.weights[pair.value]),)
        else:
            assert pair.axis is None
    single = in_int8(shipped_form(residual_net()), Int8Format(per_channel=False), trainable=True)
    assert {pair.axis for pair in qdq_pairs(single)} == {None}


def test_finished_graph_has_pairs_of_activations_only() -> None:
    trainable = in_int8(shipped_form(residual_net()), trainable=True)

    expected = [pair.rounded for pair in qdq_pairs(trainable) if not pair.is_weight]
    assert [pair.rounded for pair in qdq_pairs(finished(trainable, FORM))] == expected


def test_bounds_are_those_of_the_activation_before() -> None:
    net = start()
    low, high = net.weight("low", np.asarray(-1, np.float32)), net.weight("high", np.asarray(6, np.float32))
    x = net.op("Clip", net.conv("x", 4), low, high)
    x = net.op("Relu", net.conv(x, 4))
    graph = in_int8(net.finish(net.conv(x, 2), input_shape=(3, 8, 8)), trainable=True)
    bounds = {pair.value: pair.bounds for pair in qdq_pairs(graph)}

    assert bounds["clip1_0"] == (-1, 6)
    assert bounds["relu3_0"] == (0, np.inf)
    assert bounds["x"] == (-np.inf, np.inf)
    assert bounds_of(None, graph) == (-np.inf, np.inf)


def test_reduced_range_halves_the_codes() -> None:
    assert largest_weight_code(Int8Format()) == 127
    assert largest_weight_code(Int8Format(reduced_range=True)) == 64
