"""Zero channels stand behind an image where the first convolution is faster for them, and change no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.entry_channels import padded_entries
from deploycompress.quantize.finish import fold_pairs
from deploycompress.quantize.static import finished
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import check, computed, images, in_int8, outputs

TENSORRT = Int8Format(activations="int8", symmetric_activations=True, quantized_bias=False)


def entry(*, channels: int = 3, kernel: int = 3, group: int = 1, reads: int = 1) -> Graph:
    """Convolutions of the same image, and their sum."""
    net = start(channels=channels)
    x = net.conv("x", 6, kernel=kernel, group=group)
    for _ in range(reads - 1):
        x = net.op("Add", x, net.conv("x", 6, kernel=kernel, group=group))
    return net.finish(net.conv(net.op("Relu", x), 4), input_shape=(channels, 8, 8))


def first_kernel(graph: Graph) -> tuple[int, ...]:
    conv = next(node for node in graph.nodes if node.op == "Conv")
    return graph.weights[graph.producers()[conv.input(1)].input(0)].shape


def test_integers_are_the_same_with_and_without(tmp_path: Path) -> None:
    graph, batch = shipped_form(residual_net()), images()
    trainable = in_int8(graph, batch=batch, trainable=True)
    plain, padded = fold_pairs(trainable), finished(trainable, Int8Format())

    check(padded)
    assert first_kernel(plain)[1] == 3
    assert first_kernel(padded)[1] == 4
    np.testing.assert_array_equal(outputs(padded, batch), outputs(plain, batch))
    kernels = computed(padded, tmp_path)
    assert (kernels["Pad"], kernels["QLinearConv"]) == (1, computed(plain, tmp_path)["QLinearConv"])
    assert padded_entries(padded) is padded


@pytest.mark.parametrize(
    ("graph", "width"),
    [
        (lambda: entry(), 4),
        (lambda: entry(channels=2), 4),
        (lambda: entry(channels=5), 8),
        (lambda: entry(kernel=5), 4),
        (lambda: entry(channels=4), 4),
        (lambda: entry(kernel=1, channels=8), 8),
        (lambda: entry(kernel=2), 3),  # twelve products
        (lambda: entry(channels=1), 1),  # four times as many
        (lambda: entry(channels=6, group=2), 3),
        (lambda: entry(reads=2), 3),
    ],
    ids=["3", "2", "5", "5x5", "4", "1x1", "2x2", "1", "grouped", "read twice"],
)
def test_channels_are_added_where_products_are_no_multiple_of_four(graph: Callable[[], Graph], width: int) -> None:
    assert first_kernel(in_int8(graph()))[1] == width


def test_batches_of_any_size_go_through() -> None:
    graph = in_int8(entry())

    assert outputs(graph, images(5)).shape[0] == 5


def test_a_layer_in_single_precision_and_other_providers_keep_their_input() -> None:
    graph = entry()
    first = next(node for node in graph.nodes if node.op == "Conv").input(1).removesuffix(".weight")

    assert "Pad" not in [node.op for node in in_int8(graph, higher=(first,)).nodes]
    assert "Pad" not in [node.op for node in in_int8(graph, TENSORRT).nodes]
