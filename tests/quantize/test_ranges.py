import tracemalloc
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Graph
from deploycompress.quantize import running as module
from deploycompress.quantize.ranges import RangeMethod, find_ranges
from deploycompress.surgery.oracle import run_graph
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import Array, images, in_int8


def small_net() -> Graph:
    net = start()
    return net.finish(net.conv(net.op("Relu", net.conv("x", 4)), 2), input_shape=(3, 8, 8))


def test_ranges_are_the_extremes_over_all_batches() -> None:
    graph = small_net()
    batches = [images(4, seed=seed) for seed in range(3)]
    found = find_ranges(graph, batches)
    everything = np.concatenate(batches)
    output = graph.outputs[0].name

    assert found.of("x") == (everything.min(), everything.max())
    wanted = run_graph(graph, {"x": everything})[0]
    np.testing.assert_allclose(found.of(output), (wanted.min(), wanted.max()), rtol=1e-5)


def test_what_vanishes_into_its_rounding_has_no_range() -> None:
    graph = small_net()
    found = find_ranges(graph, [images()])

    assert set(found.limits) == {"x", "relu1_0", graph.outputs[0].name}
    assert found.of("relu1_0")[0] == 0


@pytest.mark.parametrize("method", [RangeMethod.ENTROPY, RangeMethod.PERCENTILE])
def test_outliers_are_cut_off(method: RangeMethod) -> None:
    graph, batch = small_net(), images(64)
    batch[0, 0, 0, 0] = 60

    low, high = find_ranges(graph, [batch], method=method).of("x")

    assert 2 < high < 12
    assert -12 < low < -2


@pytest.mark.parametrize("method", list(RangeMethod))
def test_ranges_do_not_depend_on_how_images_are_batched(method: RangeMethod) -> None:
    graph, batch = shipped_form(residual_net()), images(12)
    whole = find_ranges(graph, [batch], method=method)
    parts = find_ranges(graph, (part for part in np.split(batch, 4)), method=method)

    for name, limits in whole.limits.items():
        # Bins start from the first images' largest magnitude, so that a cut moves by some bins.
        np.testing.assert_allclose(parts.of(name), limits, rtol=1e-5 if method is RangeMethod.MIN_MAX else 0.2)


def test_large_batches_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_net()
    wanted = find_ranges(graph, [images(32)])
    monkeypatch.setattr(module, "MOST_BYTES_AT_ONCE", 1)

    found = find_ranges(graph, [images(32)])

    for name, limits in wanted.limits.items():
        np.testing.assert_allclose(found.of(name), limits, rtol=1e-5)


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    graph = small_net()

    def batches(count: int) -> Iterator[Array]:
        return (images(64, seed=seed) for seed in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        find_ranges(graph, batches(count), method=RangeMethod.ENTROPY)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(12) < 1.5 * peak(2)


def test_constant_activation_has_a_range_of_one_value() -> None:
    net = start()
    zeros = net.weight("w", np.zeros((2, 3, 1, 1), np.float32))
    bias = net.weight("b", np.full(2, 0.25, np.float32))
    graph = net.finish(net.op("Conv", "x", zeros, bias, kernel_shape=[1, 1], width=2), input_shape=(3, 8, 8))

    for method in RangeMethod:
        assert find_ranges(graph, [images()], method=method).of(graph.outputs[0].name) == (0.25, 0.25)


@pytest.mark.parametrize("batches", [[], iter(())])
def test_no_images_are_refused(batches: Iterable[Array]) -> None:
    with pytest.raises(DataError, match="no calibration images; give --data"):
        find_ranges(small_net(), batches)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    batch = images()
    batch[0, 0, 0, 0] = value

    with pytest.raises(DataError, match="batch holds infinite values or NaN"):
        find_ranges(small_net(), [batch])


def test_activation_that_overflows_is_named() -> None:
    net = start()
    x = net.conv("x", 4)
    net.weights["conv0.weight"] *= np.float32(1e30)
    graph = net.finish(net.conv(net.op("Mul", x, x), 2), input_shape=(3, 8, 8))

    with pytest.raises(DataError, match=r"Activation '\w+' reaches .*expected finite"):
        find_ranges(graph, [images()])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (images(shape=(3, 9, 8)), r"shape \[16, 3, 9, 8\], expected \['B', 3, 8, 8\]"),
        (images()[0], r"shape \[3, 8, 8\], expected"),
        (images(0), r"shape \[0, 3, 8, 8\], expected"),
        (np.zeros((2, 3, 8, 8), np.uint8), "is uint8, expected float32"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_ranges(small_net(), [batch])


def test_several_inputs_are_refused() -> None:
    graph = small_net()
    two = Graph(
        nodes=graph.nodes,
        weights=graph.weights,
        inputs=(*graph.inputs, type(graph.inputs[0])(name="mask", dtype=1, shape=("N", 3))),
        outputs=graph.outputs,
        shapes=graph.shapes,
        opset=17,
        ir_version=8,
    )

    with pytest.raises(DataError, match=r"2 inputs \(x, mask\), expected one"):
        find_ranges(two, [images()])


def test_quantised_model_is_refused() -> None:
    with pytest.raises(ModelError, match="quantised already"):
        find_ranges(in_int8(small_net()), [images()])


def test_batch_need_not_be_the_first_axis() -> None:
    net = start(channels=6)
    turned = net.op("Transpose", "x", perm=[1, 0, 2])
    x = net.op("MatMul", turned, net.normal("fc.weight", 5, 7))
    graph = net.finish(net.op("MatMul", net.op("Relu", x), net.normal("out.weight", 7, 3)), input_shape=(6, 5))
    batch = images(4, shape=(6, 5))

    assert find_ranges(graph, [batch]).of(turned) == (batch.min(), batch.max())
