import numpy as np
import pytest
from onnx import TensorProto
from onnxruntime.quantization import quant_utils

from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.affine import (
    Affine,
    activation_affine,
    bias_codes,
    codes,
    scale_for_bias,
    weight_affine,
    widened,
    within,
)

FORMS = [
    Int8Format(),
    Int8Format(activations="int8"),
    Int8Format(activations="int8", symmetric_activations=True),
]
RANGES = [(0.0, 6.0), (-1.5, 0.25), (-3.0, 3.0), (0.1, 0.7), (-5.0, -0.5), (-1e-3, 40.0)]


def real(affine: Affine, code: np.ndarray) -> np.ndarray:
    return affine.scale * (code.astype(np.int32) - affine.zero_point.astype(np.int32)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_scale_and_zero_point_are_those_of_onnxruntime(form: Int8Format, low: float, high: float) -> None:
    kind = TensorProto.UINT8 if form.activations == "uint8" else TensorProto.INT8
    symmetric = form.symmetric_activations
    least, most = quant_utils.get_qmin_qmax_for_qType(kind, symmetric=symmetric)
    zero_point, scale = quant_utils.compute_scale_zp(np.float32(low), np.float32(high), least, most, symmetric)

    found = activation_affine(float(np.float32(low)), float(np.float32(high)), form)

    assert found.zero_point == zero_point
    assert found.scale == scale
    assert found.scale.dtype == np.float32


@pytest.mark.parametrize("form", [*FORMS, Int8Format(symmetric_activations=True)])
@pytest.mark.parametrize("value", [0.0, 0.3, -0.7, 1e-30, 12345.678, -1e20])
def test_constant_activation_is_exact(form: Int8Format, value: float) -> None:
    array = np.full(3, value, np.float32)
    affine = activation_affine(float(array[0]), float(array[0]), form)

    np.testing.assert_array_equal(real(affine, codes(array, affine, None)), array)


@pytest.mark.parametrize("form", FORMS)
def test_rounding_errs_by_half_a_step_at_most(form: Int8Format) -> None:
    values = np.random.default_rng(0).uniform(-1.3, 4.0, 1000).astype(np.float32)
    affine = activation_affine(float(values.min()), float(values.max()), form)

    error = np.abs(real(affine, codes(values, affine, None)) - values)

    # An asymmetric zero point is itself rounded, by which the ends of the range may lie half a step outside.
    assert error.max() <= (0.5001 if form.symmetric_activations else 1.0001) * affine.scale
    assert np.median(error) < 0.3 * affine.scale


def test_symmetric_unsigned_activations_have_their_zero_in_the_middle() -> None:
    assert activation_affine(-1.0, 3.0, Int8Format(symmetric_activations=True)).zero_point == 128


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_weight_scales_are_those_of_onnxruntime(axis: int, *, reduced: bool) -> None:
    weight = np.random.default_rng(1).standard_normal((6, 5, 3, 3)).astype(np.float32)
    form = Int8Format(reduced_range=reduced)
    wanted = [
        quant_utils.compute_data_quant_params(part.ravel(), TensorProto.INT8, True, reduce_range=reduced)[1]
        for part in np.moveaxis(weight, axis, 0)
    ]

    found = weight_affine(weight, axis, form)

    np.testing.assert_array_equal(found.scale, np.asarray(wanted))
    assert not found.zero_point.any()
    assert np.abs(codes(weight, found, axis).astype(int)).max() == (64 if reduced else 127)


def test_weight_of_zeros_has_a_scale_to_divide_by() -> None:
    affine = weight_affine(np.zeros((2, 3), np.float32), 0, Int8Format())

    assert (affine.scale == 1).all()
    assert not codes(np.zeros((2, 3), np.float32), affine, 0).any()


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 6.0), (-0.3, float("inf")), (-float("inf"), 2.0), (-1.0, 0.0)])
def test_no_code_stands_for_a_value_outside_of_bounds(bounds: tuple[float, float]) -> None:
    low, high = max(bounds[0], -3.0), min(bounds[1], 3.0)
    affine = within(activation_affine(low, high, Int8Format()), bounds)
    reached = real(affine, np.asarray([0, 255]))

    assert reached[0] >= bounds[0] - 1e-6
    assert reached[1] <= bounds[1] + 1e-6
    assert reached[1] - reached[0] > 0.98 * (high - low)


def test_codes_round_halves_to_even_and_saturate() -> None:
    affine = Affine(scale=np.asarray(2.0, np.float32), zero_point=np.asarray(3, np.uint8))

    found = codes(np.asarray([1.0, 3.0, -1.0, 1e9, -1e9], np.float32), affine, None)

    assert found.tolist() == [3, 5, 3, 255, 0]


def test_scale_of_a_weight_makes_room_for_its_bias() -> None:
    weight = np.asarray([[1e-12], [0.5], [0.0]], np.float32)
    bias = np.asarray([3.0, 1.0, 0.7], np.float32)
    affine = weight_affine(weight, 0, Int8Format())
    input_scale = np.asarray(0.01, np.float32)

    needed = scale_for_bias(affine, input_scale, bias)
    found = widened(affine, needed, is_empty=np.asarray(~weight.any(axis=1)))

    step = input_scale * found.scale
    np.testing.assert_allclose(bias_codes(bias, step) * step.astype(np.float64), bias, rtol=1e-6)
    assert found.scale[1] == affine.scale[1]
    assert np.abs(bias_codes(bias, step).astype(np.int64)).max() <= 2**30 + 1


def test_a_single_scale_makes_room_for_the_largest_bias() -> None:
    affine = weight_affine(np.full((2, 1), 1e-12, np.float32), None, Int8Format(per_channel=False))
    needed = scale_for_bias(affine, np.asarray(0.01, np.float32), np.asarray([0.5, -8.0], np.float32))

    assert needed.shape == affine.scale.shape == ()
    assert float(needed) == pytest.approx(8.0 / 2**30 / 0.01)


def test_only_empty_channels_get_finer_scales() -> None:
    affine = Affine(scale=np.asarray([1.0, 1.0, 1.0], np.float32), zero_point=np.zeros(3, np.int8))
    found = widened(affine, np.asarray([0.5, 0.5, 2.0]), is_empty=np.asarray([True, False, False]))

    assert found.scale.tolist() == [0.5, 1.0, 2.0]
    assert found.scale.dtype == np.float32
