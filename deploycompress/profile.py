"""A target device as data: what it is, how ONNX Runtime is set up there, and what a student must meet.

Profiles are TOML files (`profile_files.py` reads them). They may be shared, so nothing in them can load code, write a
file or name a person's machine.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from deploycompress.constraint import Constraint, make_constraint
from deploycompress.errors import UsageError
from deploycompress.local_machine import holds, local_board, local_cpu, local_cpu_flags, same_architecture
from deploycompress.precision import Precision
from deploycompress.profile_keys import PROVIDER_OPTIONS, SESSION_KEYS, Setting, unknown_name, wrong_settings
from deploycompress.profile_precision import Arithmetic

OPERATOR_KIND = r"(conv|depthwise|grouped)[1-9]\d*(x[1-9]\d*)*|conv_transpose|gemm|matmul"


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _as_setting(value: object, read: ValidatorFunctionWrapHandler) -> Setting:
    """Answer a wrong type with one sentence, not with one for each type that it could have been."""
    try:
        setting: Setting = read(value)
    except ValidationError as error:
        raise ValueError(f"a setting is text, a whole number, or true or false, not {value!r}") from error
    return setting


# TOML arrays arrive as lists; the elements stay strict.
Names = Annotated[tuple[str, ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Width = Annotated[int, Field(ge=1, le=1024)]


class Device(_Table):
    """What the device is, with sources; the numbers are hints, never measurements.

    Attributes:
        title: the device's name as its maker writes it.
        arch: processor architecture as `uname -m` prints it.
        board: text that the device tree's model must contain for a machine to be this device, `*` standing for any
            text between; empty for any machine of the architecture.
        not_board: text that the device tree's model must not contain; empty for none.
        cpu_model: text that the processor's model name must contain; empty for any processor.
        cpu_flags: features of the processor, as `/proc/cpuinfo` writes them, that a machine must have.
        cpu: processor cores and their clock.
        accelerator: graphics or neural processor; empty for none.
        ram_bytes: memory of the device.
        memory_bandwidth_gbs: memory bandwidth, 10^9 bytes per second.
        peak_gflops_fp32: arithmetic limit in single precision, 10^9 operations per second.
        power_watts: lowest and highest power mode.
        power_mode: power mode that the facts belong to, by the name that the device's own tools give it.
        stack: operating system and drivers the facts belong to.
        sources: where the facts come from.
    """

    title: str
    arch: str
    board: str = ""
    not_board: str = ""
    cpu_model: str = ""
    cpu_flags: Names = ()
    cpu: str = ""
    accelerator: str = ""
    ram_bytes: Annotated[int, Field(gt=0)] | None = None
    memory_bandwidth_gbs: Positive | None = None
    peak_gflops_fp32: Positive | None = None
    power_watts: Annotated[tuple[Positive, ...], Field(strict=False, max_length=2)] = ()
    power_mode: str = ""
    stack: str = ""
    sources: Names = ()


class Runtime(_Table):
    """How ONNX Runtime is set up on the device.

    Attributes:
        providers: execution providers, preferred first; the processor runs convolutions and matrix products only
            where its own provider comes first.
        threads: threads inside one operator.
        graph_optimization: how far ONNX Runtime rewrites the graph.
        max_opset: newest ONNX operator set the device's runtime loads.
        max_ir: newest ONNX file format the device's runtime loads.
        min_onnxruntime: oldest ONNX Runtime to measure with.
        provider_options: options by provider, allowlisted.
        session: session configuration entries, allowlisted.
    """

    providers: Annotated[Names, Field(min_length=1)]
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    graph_optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    max_opset: Annotated[int, Field(ge=13)] = 17
    max_ir: Annotated[int, Field(ge=7)] = 8
    min_onnxruntime: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = "1.23"
    provider_options: dict[str, dict[str, Annotated[Setting, WrapValidator(_as_setting)]]] = Field(default_factory=dict)
    session: dict[str, str] = Field(default_factory=dict)

    @field_validator("providers")
    @classmethod
    def _providers_are_known(cls, providers: tuple[str, ...]) -> tuple[str, ...]:
        _refuse(unknown_name(provider, PROVIDER_OPTIONS, "execution provider") for provider in providers)
        if len(set(providers)) != len(providers):
            raise ValueError(f"an execution provider is listed twice in {list(providers)}")
        return providers

    @field_validator("session")
    @classmethod
    def _session_is_allowed(cls, session: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        _refuse(wrong_settings(session, SESSION_KEYS, "session key"))
        refuses_processor = session.get("session.disable_cpu_ep_fallback") == "1"
        if refuses_processor and "CPUExecutionProvider" in info.data.get("providers", ()):
            raise ValueError(
                "session.disable_cpu_ep_fallback = '1' contradicts CPUExecutionProvider in providers, ONNX Runtime "
                "loads no model so; leave one of them out"
            )
        return session

    @field_validator("provider_options")
    @classmethod
    def _options_are_allowed(
        cls, options: dict[str, dict[str, Setting]], info: ValidationInfo
    ) -> dict[str, dict[str, Setting]]:
        providers = info.data.get("providers", PROVIDER_OPTIONS)
        _refuse(unknown_name(provider, providers, "execution provider") for provider in options)
        for provider, settings in options.items():
            _refuse(wrong_settings(settings, PROVIDER_OPTIONS[provider], f"{provider} option"))
        return options


class Measure(_Table):
    """How the device is reached and how long it is measured.

    Attributes:
        reach: way to the device: `local` is the machine that runs the search, `ssh` and `exec` need a target that is
            given beside the profile, because a profile names no person's machine.
        warmup_seconds: least time of untimed runs before the first sample.
        percentile: which percentile of latency the metric `latency_ms` is.
        confidence: level of the intervals.
        precision: half-width of the median's interval, relative to the median, at which sampling may stop.
        load_seconds: longest time to load a model, with all that its execution provider compiles, and to warm it up;
            a process that takes longer counts as hung.
        min_samples: least number of latency samples per model.
        max_seconds: longest time to sample one pair of models; fewer than `min_samples` by then is a failure.
    """

    reach: Literal["local", "ssh", "exec"] = "local"
    warmup_seconds: Annotated[float, Field(ge=0, le=60)] = 0.2
    load_seconds: Annotated[float, Field(gt=0, le=86400)] = 60.0
    percentile: Annotated[float, Field(ge=50, lt=100)] = 90.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.01
    min_samples: Annotated[int, Field(ge=64, le=1_000_000)] = 64
    max_seconds: Annotated[float, Field(gt=0, le=86400)] = 120.0

    @model_validator(mode="after")
    def _percentile_has_an_upper_bound(self) -> Measure:
        # The largest of n samples lies above the percentile with probability 1 - q^n; below that no interval exists.
        if 1 - (self.percentile / 100) ** self.min_samples < (1 + self.confidence) / 2:
            raise ValueError(
                f"percentile {self.percentile:g} at confidence {self.confidence:g} cannot be bounded by "
                f"min_samples = {self.min_samples} samples; ask for more samples or a lower percentile"
            )
        return self


class Quantum(_Table):
    """Steps in which the channels of one kind of operator are counted best.

    Attributes:
        input: step of the input channels.
        output: step of the output channels.
    """

    input: Width
    output: Width


class ChannelSteps(_Table):
    """What the device's kernels make of channel counts in one precision.

    Attributes:
        quantum: widths at multiples of it make the best use of the kernels; most widths between cost as much as the
            next multiple, or more.
        quanta: the same by kind of operator and side, such as `conv3x3`, where it was measured.
    """

    quantum: Width = 1
    quanta: dict[str, Quantum] = Field(default_factory=dict)

    @field_validator("quanta")
    @classmethod
    def _kinds_have_the_form(cls, quanta: dict[str, Quantum]) -> dict[str, Quantum]:
        _refuse(
            f"unknown operator kind {kind!r}; kinds are such as conv3x3, depthwise3x3, grouped3x3, conv_transpose, "
            "gemm and matmul"
            for kind in quanta
            if not re.fullmatch(OPERATOR_KIND, kind)
        )
        return quanta

    @property
    def is_known(self) -> bool:
        """Whether they say anything; a quantum of 1 alone is what stands where nothing was found."""
        return self.quantum > 1 or bool(self.quanta)

    def for_kind(self, kind: str) -> Quantum:
        """Look up the quantum of a kind of operator, that of all operators when it has none of its own."""
        return self.quanta.get(kind) or Quantum(input=self.quantum, output=self.quantum)


class Channels(ChannelSteps):
    """What the device's kernels make of channel counts: in single precision, and in a table for each other one.

    Attributes:
        quantum: in single precision, the step of the widths that make the best use of the kernels; most widths between
            cost as much as the next multiple, or more.
        quanta: the same by kind of operator and side, such as `conv3x3`, where it was measured.
        fp16: the same in half precision.
        int8: the same in 8 bits.
    """

    fp16: ChannelSteps = ChannelSteps()
    int8: ChannelSteps = ChannelSteps()

    def at(self, precision: Precision) -> ChannelSteps:
        """Give the steps in a precision; where they are not known every width counts as good, and `advise` says so.

        The steps of another precision would be wrong: kernels of 8 bits take channels in other numbers.
        """
        single = ChannelSteps(quantum=self.quantum, quanta=self.quanta)
        return {Precision.FP32: single, Precision.FP16: self.fp16, Precision.INT8: self.int8}[precision]


class Profile(_Table):
    """A target device.

    Attributes:
        name: the file's name without its ending.
        schema_version: version of the file's layout, written `schema`.
        device: what the device is.
        runtime: how ONNX Runtime is set up there.
        measure: how it is measured.
        precision: what arithmetic it has.
        channels: what its kernels make of channel counts.
        constraint: what a student must meet there, written as `[[constraint]]` tables.
    """

    name: str
    schema_version: Annotated[Literal[1], Field(alias="schema")]
    device: Device
    runtime: Runtime
    measure: Measure = Measure()
    precision: Arithmetic = Arithmetic()
    channels: Channels = Channels()
    constraint: Annotated[tuple[dict[str, float], ...], Field(strict=False)] = ()

    @field_validator("constraint")
    @classmethod
    def _rows_are_constraints(cls, rows: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
        for row in rows:
            _to_constraint(row)
        return rows

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What a student must meet on the device."""
        return tuple(_to_constraint(row) for row in self.constraint)

    def digest(self) -> str:
        """Name the profile's content by its SHA-256, so that two profiles of one name are told apart."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    def is_device(self, arch: str, board: str = "", cpu: str = "", cpu_flags: Iterable[str] = ()) -> bool:
        """Say whether a machine is the profile's own device, so that numbers taken on it are measured, not proxy.

        Args:
            arch: the machine's architecture, as `platform.machine()` gives it.
            board: the machine's device-tree model; empty where it has none.
            cpu: the model name of the machine's processor; empty when it is unknown.
            cpu_flags: the processor's features; empty when they are unknown.
        """
        device = self.device
        return (
            same_architecture(arch, device.arch)
            and holds(device.board, board)
            and not (device.not_board and holds(device.not_board, board))
            and holds(device.cpu_model, cpu)
            and set(device.cpu_flags) <= set(cpu_flags)
        )

    @property
    def is_local_device(self) -> bool:
        """Whether this very machine is the profile's device."""
        return self.is_device(platform.machine(), local_board(), local_cpu(), local_cpu_flags())

    @property
    def needs_target(self) -> bool:
        """Whether somebody must say where the device is: it lies elsewhere, and profiles name no machine."""
        return self.measure.reach != "local" and not self.is_local_device


def _refuse(problems: Iterable[str]) -> None:
    found: Sequence[str] = [problem for problem in problems if problem]
    if found:
        raise ValueError("; ".join(found))


def _to_constraint(row: dict[str, float]) -> Constraint:
    if "max" not in row:
        raise ValueError("a constraint needs 'max' beside its metrics, such as latency_ratio = 1.0 and max = 0.5")
    try:
        return make_constraint({metric: factor for metric, factor in row.items() if metric != "max"}, row["max"])
    except UsageError as error:
        raise ValueError(str(error)) from error
