"""Provider options and session keys: what ONNX Runtime would swallow in silence is refused here, value by value."""

from __future__ import annotations

import itertools

import onnxruntime
import pytest

from deploycompress.profile_keys import PROVIDER_OPTIONS, SESSION_KEYS, Setting, did_you_mean, wrong_settings

TRT, CUDA = PROVIDER_OPTIONS["TensorrtExecutionProvider"], PROVIDER_OPTIONS["CUDAExecutionProvider"]
OPENVINO = PROVIDER_OPTIONS["OpenVINOExecutionProvider"]
WRITES_OR_LOADS = ("path", "file", "cache", "dump", "plugin", "lib", "profiling", "stream_", "pointer", "external")


def test_every_provider_is_one_that_onnx_runtime_knows() -> None:
    assert set(PROVIDER_OPTIONS) <= set(onnxruntime.get_all_providers())


def test_session_keys_are_spelt_as_in_the_library() -> None:
    library = onnxruntime.capi.onnxruntime_pybind11_state.__file__
    with open(library, "rb") as file:  # noqa: PTH123  a library of 30 MB, read once
        content = file.read()
    assert [key for key in SESSION_KEYS if key.encode() not in content] == []
    assert b"session.no_such_key" not in content


def test_nothing_that_loads_code_or_writes_files_is_allowed() -> None:
    keys = {*SESSION_KEYS, *itertools.chain.from_iterable(PROVIDER_OPTIONS.values())}
    assert {key for key in keys if any(word in key for word in WRITES_OR_LOADS)} == set()


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (TRT, "trt_fp16_enable", True),
        (TRT, "trt_fp16_enable", "1"),
        (TRT, "trt_builder_optimization_level", 5),
        (TRT, "trt_auxiliary_streams", -1),
        (TRT, "trt_max_workspace_size", 2**30),
        (CUDA, "cudnn_conv_algo_search", "HEURISTIC"),
        (CUDA, "gpu_mem_limit", "1073741824"),
        (OPENVINO, "device_type", "GPU.1"),
        (OPENVINO, "device_type", "AUTO:GPU,CPU"),
        (SESSION_KEYS, "session.dynamic_block_base", "4"),
    ],
)
def test_right_values_pass(table: dict[str, object], key: str, value: Setting) -> None:
    assert wrong_settings({key: value}, table, "option") == []  # type: ignore[arg-type]  # a mapping of values


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        (TRT, "trt_fp16_enable", "yes", "allowed is true or false"),
        (TRT, "trt_fp16_enable", 2, "allowed is true or false"),
        (TRT, "trt_builder_optimization_level", 6, "a whole number from 0 to 5"),
        (TRT, "trt_builder_optimization_level", True, "a whole number from 0 to 5"),
        (TRT, "trt_max_workspace_size", "1GB", "a whole number"),
        (TRT, "trt_fp16_enabled", True, "did you mean 'trt_fp16_enable'"),
        (TRT, "trt_engine_cache_path", "/tmp/x", "which writes files and so may not stand in a profile"),
        (CUDA, "cudnn_conv_algo_search", "FASTEST", "one of EXHAUSTIVE, HEURISTIC, DEFAULT"),
        (CUDA, "cudnn_conv_algo_search", "heuristic", "one of EXHAUSTIVE"),
        (CUDA, "device_id", "0; rm -rf /", "a whole number"),
        (CUDA, "device_id", "٣", "a whole number"),
        (OPENVINO, "device_type", "TPU", "a device such as CPU"),
        (OPENVINO, "device_type", "CPU\n", "a device such as CPU"),
        (SESSION_KEYS, "session.intra_op.allow_spinning", "true", "one of 0, 1"),
        (SESSION_KEYS, "session.dynamic_block_base", "-4", "from 0 to 1024"),
        (SESSION_KEYS, "session.optimized_model_filepath", "/tmp/x", "which writes files"),
    ],
)
def test_wrong_keys_and_values_are_refused(table: dict[str, object], key: str, value: Setting, words: str) -> None:
    [problem] = wrong_settings({key: value}, table, "option")  # type: ignore[arg-type]  # a mapping of values
    assert words in problem
    assert key in problem


def test_every_wrong_setting_is_listed() -> None:
    problems = wrong_settings({"device_id": -1, "use_tf32": True, "prefer_nwhc": True}, CUDA, "option")
    assert ["device_id" in problems[0], "prefer_nhwc" in problems[1], len(problems)] == [True, True, 2]


def test_far_words_suggest_nothing() -> None:
    assert did_you_mean("threds", ["threads", "providers"]) == ", did you mean 'threads'?"
    assert did_you_mean("zzz", ["threads", "providers"]) == ""
