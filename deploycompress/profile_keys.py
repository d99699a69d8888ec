"""What a profile may say to ONNX Runtime: execution providers, their options, session entries, and the values of each.

ONNX Runtime takes misspelt keys and values in silence, and some keys load code or write files: what is not listed here
is refused. It knows nothing of files and of the other parts of a profile.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

Setting = str | int | bool


class Values(Protocol):
    """What may stand behind a key; a value is compared as ONNX Runtime is told it, as text."""

    @property
    def words(self) -> str:
        """Say for people what is allowed."""

    def allow(self, value: Setting) -> bool:
        """Say whether the value is one of them."""

    def to_schema(self) -> dict[str, object]:
        """Say the same as JSON Schema."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values.

    Attributes:
        options: the values.
        words: the values for people.
    """

    options: tuple[Setting, ...]
    words: str

    def allow(self, value: Setting) -> bool:
        """Say whether the value is one of the options, whatever its type in TOML."""
        return str(value) in {str(option) for option in self.options}

    def to_schema(self) -> dict[str, object]:
        """List the options."""
        return {"enum": list(self.options)}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, in digits.

    Attributes:
        low: least value.
        high: largest value.
    """

    low: int
    high: int

    @property
    def words(self) -> str:
        """Name the limits."""
        return f"a whole number from {self.low} to {self.high}"

    def allow(self, value: Setting) -> bool:
        """Say whether the value lies within the limits."""
        return re.fullmatch(r"-?[0-9]{1,19}", str(value)) is not None and self.low <= int(value) <= self.high

    def to_schema(self) -> dict[str, object]:
        """Give the limits, and the form of a number written as a string."""
        return {"type": ["integer", "string"], "minimum": self.low, "maximum": self.high, "pattern": "^-?[0-9]{1,19}$"}


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a certain form.

    Attributes:
        pattern: regular expression that the whole value matches.
        words: the form for people.
    """

    pattern: str
    words: str

    def allow(self, value: Setting) -> bool:
        """Say whether the value has the form."""
        return re.fullmatch(self.pattern, str(value)) is not None

    def to_schema(self) -> dict[str, object]:
        """Give the form."""
        return {"type": "string", "pattern": f"^({self.pattern})$"}


def _one_of(*options: str) -> Choice:
    return Choice(options, f"one of {', '.join(options)}")


_FLAG = _one_of("0", "1")
_BOOLEAN = Choice((True, False, 0, 1, "0", "1", "true", "false", "True", "False"), "true or false")
_SMALL, _THREADS, _BYTES = Whole(0, 63), Whole(1, 1024), Whole(1, 2**63 - 1)
_OPENVINO_DEVICE = r"(CPU|GPU|NPU)(\.[0-9])?"

SESSION_KEYS: Mapping[str, Values] = {
    "session.intra_op.allow_spinning": _FLAG,
    "session.inter_op.allow_spinning": _FLAG,
    "session.force_spinning_stop": _FLAG,
    "session.set_denormal_as_zero": _FLAG,
    "session.disable_prepacking": _FLAG,
    "session.disable_cpu_ep_fallback": _FLAG,
    "session.use_device_allocator_for_initializers": _FLAG,
    "session.dynamic_block_base": Whole(0, 1024),
}

PROVIDER_OPTIONS: Mapping[str, Mapping[str, Values]] = {
    "CPUExecutionProvider": {},
    "CUDAExecutionProvider": {
        "device_id": _SMALL,
        "gpu_mem_limit": _BYTES,
        "arena_extend_strategy": _one_of("kNextPowerOfTwo", "kSameAsRequested"),
        "cudnn_conv_algo_search": _one_of("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
        "prefer_nhwc": _BOOLEAN,
        "use_tf32": _BOOLEAN,
    },
    "TensorrtExecutionProvider": {
        "device_id": _SMALL,
        "trt_auxiliary_streams": Whole(-1, 16),
        "trt_builder_optimization_level": Whole(0, 5),
        "trt_dla_core": _SMALL,
        "trt_dla_enable": _BOOLEAN,
        "trt_fp16_enable": _BOOLEAN,
        "trt_int8_enable": _BOOLEAN,
        "trt_max_workspace_size": _BYTES,
        "trt_min_subgraph_size": Whole(1, 1024),
    },
    "XnnpackExecutionProvider": {"intra_op_num_threads": _THREADS},
    "OpenVINOExecutionProvider": {
        "device_type": Text(
            rf"{_OPENVINO_DEVICE}|(AUTO|HETERO|MULTI):{_OPENVINO_DEVICE}(,{_OPENVINO_DEVICE})*",
            "a device such as CPU, GPU, GPU.1, NPU or AUTO:GPU,CPU",
        ),
        "num_of_threads": _THREADS,
        "precision": _one_of("FP32", "FP16", "ACCURACY"),
    },
    "QNNExecutionProvider": {
        "backend_type": _one_of("cpu", "gpu", "htp"),
        "enable_htp_fp16_precision": _BOOLEAN,
        "htp_graph_finalization_optimization_mode": Whole(0, 3),
        "htp_performance_mode": _one_of(
            "balanced",
            "burst",
            "default",
            "extreme_power_saver",
            "high_performance",
            "high_power_saver",
            "low_balanced",
            "low_power_saver",
            "power_saver",
            "sustained_high_performance",
        ),
    },
}

# Refused like any other unknown key; named so that the refusal can say that it is meant.
_HARMFUL: Mapping[str, str] = {
    "backend_path": "loads code",
    "cache_dir": "writes files",
    "load_config": "reads files",
    "profiling_file_path": "writes files",
    "session.collect_node_memory_stats_to_file": "writes files",
    "session.debug_layout_transformation": "writes files",
    "session.enable_profiling": "writes files",
    "session.optimized_model_filepath": "writes files",
    "trt_dump_ep_context_model": "writes files",
    "trt_dump_subgraphs": "writes files",
    "trt_engine_cache_enable": "writes files",
    "trt_engine_cache_path": "writes files",
    "trt_ep_context_file_path": "writes files",
    "trt_extra_plugin_lib_paths": "loads code",
    "trt_timing_cache_enable": "writes files",
    "trt_timing_cache_path": "writes files",
}


def unknown_name(name: str, known: Iterable[str], kind: str) -> str:
    """Say that a name is not among the known ones, and which is nearest; empty when it is."""
    if name in known:
        return ""
    listed = ", ".join(sorted(known)) or "none"
    why = f", which {_HARMFUL[name]} and so may not stand in a profile" if name in _HARMFUL else ""
    return f"unknown {kind} {name!r}{why or did_you_mean(name, known)}; allowed are {listed}"


def wrong_settings(settings: Mapping[str, Setting], allowed: Mapping[str, Values], kind: str) -> list[str]:
    """List what is wrong with settings: keys that are not allowed, and values that do not belong to their key.

    Args:
        settings: what the profile says.
        allowed: what it may say.
        kind: what the keys are, for the messages.
    """
    return [problem for key, value in settings.items() if (problem := _wrong_setting(key, value, allowed, kind))]


def _wrong_setting(key: str, value: Setting, allowed: Mapping[str, Values], kind: str) -> str:
    if key not in allowed:
        return unknown_name(key, allowed, kind)
    is_allowed = allowed[key].allow(value)
    return "" if is_allowed else f"{kind} {key!r} has the value {value!r}; allowed is {allowed[key].words}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the known word nearest to a misspelt one, as a part of a sentence; empty when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
