"""The real thing: ResNet-20 on CIFAR-10 training images, calibrated on others."""

from pathlib import Path

import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.bias_correction import bias_corrected
from deploycompress.quantize.equalize import equalized
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import layers
from deploycompress.quantize.ranges import RangeMethod, find_ranges
from deploycompress.quantize.sensitivity import sensitivity
from deploycompress.quantize.static import finished, quantized
from tests.quantize.runs import FORM, Array, computed, outputs, relative_rms
from tests.shared import CIFAR10, RESNET20, needs_shared

pytestmark = needs_shared

JUDGED, CALIBRATION = slice(0, 200), slice(1000, 1128)


@pytest.fixture(scope="module")
def resnet20() -> Graph:
    import torch

    from deploycompress.capturing.capture import capture
    from deploycompress.surgery.shipped import shipped_form
    from tools import cifar_resnet

    model = cifar_resnet.resnet20()
    model.load_state_dict(torch.load(RESNET20, weights_only=True))
    return shipped_form(capture(model.eval(), input_shape=(1, 3, 32, 32), max_opset=17, max_ir=8))


@pytest.fixture(scope="module")
def pictures() -> Array:
    from deploycompress.train.normalize import IMAGENET_MEAN, IMAGENET_STD

    with np.load(CIFAR10 / "train-0.npz") as data:
        bytes_ = data["images"][:1200]
    normal: Array = (bytes_ / 255 - IMAGENET_MEAN) / IMAGENET_STD
    return normal.transpose(0, 3, 1, 2).astype(np.float32)


def agreement(found: Array, wanted: Array) -> float:
    return float((found.argmax(1) == wanted.argmax(1)).mean())


@pytest.mark.parametrize("method", list(RangeMethod))
def test_eight_bits_agree_with_float(resnet20: Graph, pictures: Array, method: RangeMethod) -> None:
    ranges = find_ranges(resnet20, [pictures[CALIBRATION]], method=method)
    found, wanted = (outputs(g, pictures[JUDGED]) for g in (quantized(resnet20, ranges, FORM), resnet20))

    assert agreement(found, wanted) >= 0.98
    assert relative_rms(found, wanted) < 0.06


def test_every_layer_is_computed_in_integers(resnet20: Graph, pictures: Array, tmp_path: Path) -> None:
    graph = quantized(resnet20, find_ranges(resnet20, [pictures[CALIBRATION]]), FORM)
    kernels = computed(graph, tmp_path)

    assert (kernels["QLinearConv"], kernels["QLinearAdd"], kernels["QGemm"]) == (19 + 2, 9, 1)  # both shortcuts
    assert not {"Conv", "FusedConv", "Add", "Relu", "Gemm"} & set(kernels)
    assert kernels["Pad"] == 1  # of the image
    assert len(graph.to_bytes()) < 0.45 * len(resnet20.to_bytes())


def test_finished_is_what_is_quantised(resnet20: Graph, pictures: Array) -> None:
    ranges = find_ranges(resnet20, [pictures[CALIBRATION]])
    trainable = quantized(resnet20, ranges, FORM, trainable=True)
    found, wanted = finished(trainable, FORM), quantized(resnet20, ranges, FORM)

    np.testing.assert_array_equal(outputs(found, pictures[JUDGED]), outputs(wanted, pictures[JUDGED]))


def test_half_precision_halves_the_file_and_agrees(resnet20: Graph, pictures: Array) -> None:
    found = half(resnet20)

    assert len(found.to_bytes()) < 0.51 * len(resnet20.to_bytes())
    assert agreement(outputs(found, pictures[JUDGED]), outputs(resnet20, pictures[JUDGED])) >= 0.995


def test_bias_correction_pays_with_one_scale_per_weight(resnet20: Graph, pictures: Array) -> None:
    form = Int8Format(per_channel=False)
    ranges = find_ranges(resnet20, [pictures[CALIBRATION]])
    corrected = bias_corrected(resnet20, [pictures[CALIBRATION]], form)
    wanted = outputs(resnet20, pictures[JUDGED])
    before, after = (
        relative_rms(outputs(quantized(graph, ranges, form), pictures[JUDGED]), wanted)
        for graph in (resnet20, corrected)
    )

    assert after < 0.95 * before


def test_equalisation_leaves_the_function_alone(resnet20: Graph, pictures: Array) -> None:
    wanted = outputs(resnet20, pictures[JUDGED])

    assert np.abs(outputs(equalized(resnet20), pictures[JUDGED]) - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_the_layer_that_harms_most_helps_most_when_it_stays(resnet20: Graph, pictures: Array) -> None:
    ranges = find_ranges(resnet20, [pictures[CALIBRATION]])
    order = [name for name, _ in sensitivity(resnet20, [pictures[:16]], ranges, FORM)]
    wanted = outputs(resnet20, pictures[JUDGED])
    first, last = (
        relative_rms(outputs(quantized(resnet20, ranges, FORM, higher=(name,)), pictures[JUDGED]), wanted)
        for name in (order[0], order[-1])
    )

    assert set(order) == set(layers(resnet20))
    assert first < last
