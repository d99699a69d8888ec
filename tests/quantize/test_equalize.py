import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.equalize import equalized, not_equalized
from deploycompress.surgery.shipped import shipped_form
from tests.build import NetBuilder, residual_net, start
from tests.quantize.runs import images, in_int8, outputs, relative_rms

PER_TENSOR = Int8Format(per_channel=False)


def uneven(net: NetBuilder, name: str) -> None:
    """Spread a layer's channels over four orders of magnitude."""
    factor = 10 ** net.rng.uniform(-2, 2, len(net.weights[f"{name}.weight"])).astype(np.float32)
    weight = net.weights[f"{name}.weight"]
    net.weights[f"{name}.weight"] = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    net.weights[f"{name}.bias"] = net.weights[f"{name}.bias"] * factor


def undo(net: NetBuilder, first: str, second: str) -> None:
    """Make the second layer read the first one's channels at even strength."""
    spread = np.abs(net.weights[f"{first}.weight"]).reshape(len(net.weights[f"{first}.weight"]), -1).max(axis=1)
    weight = net.weights[f"{second}.weight"]
    shape = (-1, 1, 1, 1) if weight.shape[1] == 1 else (1, -1, 1, 1)
    net.weights[f"{second}.weight"] = (weight / spread.reshape(shape)).astype(np.float32)


def uneven_mobile_net(activation: str = "Relu") -> Graph:
    net = start()
    x = net.op(activation, net.conv("x", 16, kernel=1))
    x = net.op(activation, net.depthwise(x))
    x = net.op(activation, net.conv(x, 12, kernel=1))
    uneven(net, "conv0")
    undo(net, "conv0", "conv2")
    uneven(net, "conv2")
    undo(net, "conv2", "conv4")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=(3, 8, 8))


def test_function_stays_the_same() -> None:
    graph, batch = uneven_mobile_net(), images()
    found = equalized(graph)
    wanted = outputs(graph, batch)

    assert np.abs(outputs(found, batch) - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert found.digest() != graph.digest()


def test_rounding_with_one_scale_gets_better() -> None:
    graph, batch = uneven_mobile_net(), images(64)
    wanted = outputs(graph, batch)
    before = relative_rms(outputs(in_int8(graph, PER_TENSOR, batch=batch), batch), wanted)
    after = relative_rms(outputs(in_int8(equalized(graph), PER_TENSOR, batch=batch), batch), wanted)

    assert before > 0.2
    assert after < 0.2 * before


def test_channels_have_the_same_range_on_both_sides() -> None:
    found = equalized(uneven_mobile_net())
    largest = {name: np.abs(found.weights[f"{name}.weight"]) for name in ("conv0", "conv2", "conv4")}

    np.testing.assert_allclose(largest["conv0"].max(axis=(1, 2, 3)), largest["conv2"].max(axis=(1, 2, 3)), rtol=0.01)
    np.testing.assert_allclose(largest["conv2"].max(axis=(1, 2, 3)), largest["conv4"].max(axis=(0, 2, 3)), rtol=0.01)


@pytest.mark.parametrize("transposed", [True, False])
def test_gemm_is_equalised_along_its_inputs(*, transposed: bool) -> None:
    net = start()
    x = net.op("GlobalAveragePool", net.op("Relu", net.conv("x", 6)))
    uneven(net, "conv0")
    shape = (5, 6) if transposed else (6, 5)
    made = net.op("Gemm", net.op("Flatten", x, axis=1), net.normal("fc.weight", *shape), transB=int(transposed))
    graph, batch = net.finish(made, input_shape=(3, 8, 8)), images()
    found = equalized(graph)
    wanted = outputs(graph, batch)

    assert np.abs(outputs(found, batch) - wanted).max() < 1e-5 * np.abs(wanted).max()
    np.testing.assert_allclose(
        np.abs(found.weights["conv0.weight"]).max(axis=(1, 2, 3)),
        np.abs(found.weights["fc.weight"]).max(axis=0 if transposed else 1),
        rtol=0.01,
    )


def test_grouped_convolution_is_equalised_group_by_group() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    graph, batch = net.finish(net.conv(x, 12, group=2), input_shape=(3, 8, 8)), images()
    found = equalized(graph)
    second = np.abs(found.weights["conv2.weight"]).max(axis=(2, 3)).reshape(2, 6, 4).max(axis=1).reshape(-1)
    wanted = outputs(graph, batch)

    np.testing.assert_allclose(np.abs(found.weights["conv0.weight"]).max(axis=(1, 2, 3)), second, rtol=0.01)
    assert np.abs(outputs(found, batch) - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("activation", ["HardSwish", "Sigmoid", "Clip"])
def test_other_activations_are_refused_by_name(activation: str) -> None:
    net = start()
    bounds = [net.weight(name, np.asarray(value, np.float32)) for name, value in (("low", 0), ("high", 6))]
    x = net.op(activation, net.conv("x", 8), *(bounds if activation == "Clip" else []))
    graph = net.finish(net.conv(x, 4), input_shape=(3, 8, 8))

    assert equalized(graph) is graph
    assert not_equalized(graph)["conv0"] == (
        f"{activation} '{activation}_1' is not positively homogeneous, or not known to be"
    )


def test_what_is_read_twice_is_left_alone() -> None:
    graph, batch = shipped_form(residual_net()), images()
    found = equalized(graph)
    wanted = outputs(graph, batch)

    assert "is read in more than one place" in not_equalized(graph)["conv0"]
    np.testing.assert_array_equal(found.weights["conv0.weight"], graph.weights["conv0.weight"])
    assert np.abs(outputs(found, batch) - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_shared_weights_are_left_alone() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    weight = net.normal("shared.weight", 8, 8, 3, 3)
    for _ in range(2):
        x = net.op("Relu", net.op("Conv", x, weight, pads=[1] * 4, kernel_shape=[3, 3]))
    graph = net.finish(net.conv(x, 4), input_shape=(3, 8, 8))

    assert equalized(graph) is graph
    assert set(not_equalized(graph)) == {"conv0", "shared", "conv6"}


def test_dead_channels_stay_dead() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    net.weights["conv0.weight"][2] = 0
    graph = net.finish(net.conv(x, 4), input_shape=(3, 8, 8))
    found = equalized(graph)

    assert all(np.isfinite(array).all() for array in found.weights.values())
    np.testing.assert_allclose(outputs(found, images()), outputs(graph, images()), atol=1e-5)
