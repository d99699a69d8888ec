import numpy as np
import pytest

from deploycompress.errors import DataError
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.layers import layers
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.sensitivity import relative_error, sensitivity
from deploycompress.quantize.static import quantized
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net
from tests.quantize.runs import FORM, images, outputs

PER_TENSOR = Int8Format(per_channel=False)


def test_a_spoilt_layer_comes_first() -> None:
    graph, batch = shipped_form(residual_net()), images()
    weight = graph.weights["conv10.weight"].copy()
    weight[0, 0, 0, 0] = 60  # one large weight takes the codes from all others
    spoilt = graph.with_weights({"conv10.weight": weight})
    found = sensitivity(spoilt, [batch], find_ranges(spoilt, [batch]), PER_TENSOR)

    assert found[0][0] == "conv10"
    assert found[0][1] > 3 * found[1][1]


def test_damage_is_of_the_layer_alone() -> None:
    graph, batch = shipped_form(residual_net()), images()
    ranges = find_ranges(graph, [batch])
    found = dict(sensitivity(graph, [batch[:8], batch[8:]], ranges, FORM))
    name = layers(graph)[3]
    others = [other for other in layers(graph) if other != name]
    alone = outputs(quantized(graph, ranges, FORM, higher=others), batch)
    wanted = outputs(graph, batch)

    assert set(found) == set(layers(graph))
    assert found[name] == pytest.approx(np.square(alone - wanted).mean() / np.square(wanted).mean(), rel=1e-4)


def test_most_harmful_come_first() -> None:
    graph, batch = shipped_form(residual_net()), images()
    damages = [damage for _, damage in sensitivity(graph, [batch], find_ranges(graph, [batch]), FORM)]

    assert damages == sorted(damages, reverse=True)
    assert damages[-1] > 0


def test_no_images_are_refused() -> None:
    graph = shipped_form(residual_net())

    with pytest.raises(DataError, match="no calibration images"):
        sensitivity(graph, [], find_ranges(graph, [images()]), FORM)


def test_relative_error_is_the_mean_over_outputs() -> None:
    ones = np.ones((2, 3), np.float32)

    assert relative_error([ones, 3 * ones], [2 * ones, 4 * ones]) == pytest.approx((1 / 4 + 1 / 16) / 2)
    assert relative_error([0 * ones], [0 * ones]) == 0
