"""Invariant 4: torch gives what ONNX's node tests expect and what ONNX Runtime gives, or the node is refused."""

import re
from collections.abc import Mapping

import pytest

from deploycompress.errors import ModelError
from tests.network.node_cases import CLAIMED, case_graph, data_set, node_cases, ort_outputs, relative_excess, run_case

# Every node test of a claimed operator that is refused: a pattern of its name, and what the refusal must say.
REFUSED: Mapping[str, str] = {
    r"cast.*(FLOAT8E\w+|FLOAT4E\w+|U?INT4|U?INT2)(_|$)": "ONNX element type",
    r"_uint(16|32|64)(_expanded)?$": "ONNX element type",
    r"quantizelinear_(\w*e[45]m\d|u?int[24]$|float4)": "ONNX element type",
    r"equal_string": "ONNX element type",
    r"identity_(sequence|opt)$": "ONNX element type",
    r"batchnorm_\w+_training_mode$": "exported in training mode",
    r"training_dropout": "drops at random",
    r"maxpool_with_argmax": "positions of the maxima",
    r"reduce_(min|max)_empty_set": "extreme value among no values",
    r"resize_\w+_cubic": "interpolates by 'cubic'",
    r"resize_\w+_linear_antialias": "weighs its neighbours anew",
    r"resize_tf_crop_and_resize": "tf_crop_and_resize",
    r"resize_downsample_scales_linear_align_corners": "no whole number",
    r"quantizelinear_blocked": "a scale for each block",
    r"scatternd_(multiply|max|min)": "writes by reduction",
    # function bodies that compute axes, pads or ranges from data or in ways that no exporter writes for networks
    r"(layer|rms)_normalization_\w+_expanded": "computes its input",
    r"rotary_embedding_\w*expanded": "computes its input 1",
    r"center_crop_pad_\w+_expanded": "computes its input 1",
    r"(blackman|hamming|hann)window\w*_expanded": "computes its input 1",
}

# Expected values that onnx stores rounded to four decimals; ONNX Runtime is the only judge of these.
ROUNDED = frozenset({"test_averagepool_2d_ceil_last_window_starts_on_pad"})

# Opsets and element types that this ONNX Runtime does not run; onnx's expected values are the only judge of these.
WITHOUT_RUNTIME = (
    r"celu",
    r"depthtospace_",
    r"spacetodepth",
    r"swiglu",
    r"reduce_log_sum_",
    r"einsum_",
    r"test_mod_",
    r"test_range_",
    r"test_(de)?quantizelinear",
    r"causal_conv_with_state_\w+_expanded",
    r"test_m(ax|in)_int16",
    r"test_cast_",
    r"BFLOAT16",
)


def _refusal(name: str) -> str | None:
    return next((message for pattern, message in REFUSED.items() if re.search(pattern, name)), None)


MATCHED = [name for name in node_cases() if _refusal(name) is None]


@pytest.mark.parametrize("name", MATCHED)
def test_node_gives_what_onnx_expects(name: str) -> None:
    case = node_cases()[name]
    got = run_case(case)
    expected = data_set(case)[1]
    runtime = ort_outputs(case)
    assert runtime is not None or any(re.search(pattern, name) for pattern in WITHOUT_RUNTIME)
    for index, result in enumerate(got):
        if name not in ROUNDED:
            assert relative_excess(result, expected[index]) <= 1.0
        if runtime is not None:
            assert relative_excess(result, runtime[index]) <= 1.0


@pytest.mark.parametrize("name", [name for name in node_cases() if _refusal(name)])
def test_node_is_refused_for_the_listed_reason(name: str) -> None:
    message = _refusal(name)
    assert message is not None
    with pytest.raises(ModelError, match=re.escape(message)):
        run_case(node_cases()[name])


@pytest.mark.parametrize("pattern", [*REFUSED, *ROUNDED, *WITHOUT_RUNTIME])
def test_no_exception_is_stale(pattern: str) -> None:
    assert any(pattern in name or re.search(pattern, name) for name in node_cases())


def test_every_claimed_operator_has_a_matching_node_test() -> None:
    covered = {node.op for name in MATCHED for node in case_graph(node_cases()[name])[0].nodes}
    assert covered == CLAIMED
