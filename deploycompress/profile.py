"""A target device as data: what it is, how ONNX Runtime is set up there, and what a student must meet.

Profiles are TOML files. They may be shared, so nothing in them can load code, write a file or name a person's machine.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import platform
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from deploycompress.constraint import Constraint, make_constraint
from deploycompress.errors import ProfileError, UsageError

SEARCH_PATH_VARIABLE = "DEPLOYCOMPRESS_PROFILES"

_FLAG = frozenset({"0", "1"})
_COUNT = frozenset(str(number) for number in range(1025))

# ONNX Runtime accepts misspelt keys in silence, and some keys write files: only these may stand in a profile.
SESSION_KEYS: Mapping[str, frozenset[str]] = {
    "session.intra_op.allow_spinning": _FLAG,
    "session.inter_op.allow_spinning": _FLAG,
    "session.force_spinning_stop": _FLAG,
    "session.set_denormal_as_zero": _FLAG,
    "session.disable_prepacking": _FLAG,
    "session.disable_cpu_ep_fallback": _FLAG,
    "session.use_device_allocator_for_initializers": _FLAG,
    "session.dynamic_block_base": _COUNT,
}

# The same for provider options: no plugin libraries, no cache folders.
PROVIDER_OPTIONS: Mapping[str, frozenset[str]] = {
    "CPUExecutionProvider": frozenset(),
    "CUDAExecutionProvider": frozenset(
        {"device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search", "prefer_nhwc", "use_tf32"}
    ),
    "TensorrtExecutionProvider": frozenset(
        {
            "device_id",
            "trt_auxiliary_streams",
            "trt_builder_optimization_level",
            "trt_dla_core",
            "trt_dla_enable",
            "trt_fp16_enable",
            "trt_int8_enable",
            "trt_max_workspace_size",
            "trt_min_subgraph_size",
        }
    ),
    "XnnpackExecutionProvider": frozenset({"intra_op_num_threads"}),
    "OpenVINOExecutionProvider": frozenset({"device_type", "num_of_threads", "precision"}),
}

_ARCHITECTURE_SYNONYMS = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


# TOML arrays arrive as lists; the elements stay strict.
Names = Annotated[tuple[str, ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Device(_Table):
    """What the device is, with sources; the numbers are hints, never measurements.

    Attributes:
        title: the device's name as its maker writes it.
        arch: processor architecture as `uname -m` prints it.
        board: text that the device tree's model must contain for a machine to be this device; empty for any machine
            of the architecture.
        cpu: processor cores and their clock.
        accelerator: graphics or neural processor; empty for none.
        ram_bytes: memory of the device.
        memory_bandwidth_gbs: memory bandwidth, 10^9 bytes per second.
        peak_gflops_fp32: arithmetic limit in single precision, 10^9 operations per second.
        power_watts: lowest and highest power mode.
        stack: operating system and drivers the facts belong to.
        sources: where the facts come from.
    """

    title: str
    arch: str
    board: str = ""
    cpu: str = ""
    accelerator: str = ""
    ram_bytes: Annotated[int, Field(gt=0)] | None = None
    memory_bandwidth_gbs: Positive | None = None
    peak_gflops_fp32: Positive | None = None
    power_watts: Annotated[tuple[Positive, ...], Field(strict=False, max_length=2)] = ()
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
    provider_options: dict[str, dict[str, str | int | bool]] = Field(default_factory=dict)
    session: dict[str, str] = Field(default_factory=dict)

    @field_validator("providers")
    @classmethod
    def _providers_are_known(cls, providers: tuple[str, ...]) -> tuple[str, ...]:
        for provider in providers:
            _require_known(provider, PROVIDER_OPTIONS, "execution provider")
        if len(set(providers)) != len(providers):
            raise ValueError(f"an execution provider is listed twice in {list(providers)}")
        return providers

    @field_validator("session")
    @classmethod
    def _session_is_allowed(cls, session: dict[str, str]) -> dict[str, str]:
        for key, value in session.items():
            _require_known(key, SESSION_KEYS, "session key")
            if value not in SESSION_KEYS[key]:
                allowed = ", ".join(sorted(SESSION_KEYS[key], key=int)[:2])
                raise ValueError(f"session key {key!r} has the value {value!r}; allowed are values such as {allowed}")
        return session

    @field_validator("provider_options")
    @classmethod
    def _options_are_allowed(
        cls, options: dict[str, dict[str, str | int | bool]], info: ValidationInfo
    ) -> dict[str, dict[str, str | int | bool]]:
        for provider, values in options.items():
            _require_known(provider, info.data.get("providers", ()), "execution provider")
            for key in values:
                _require_known(key, PROVIDER_OPTIONS[provider], f"{provider} option")
        return options


class Measure(_Table):
    """How the device is reached and how long it is measured.

    Attributes:
        reach: way to the device; `local` measures on the machine that runs the search.
        warmup_seconds: least time of untimed runs before the first sample.
        percentile: which percentile of latency the metric `latency_ms` is.
        confidence: level of the intervals.
        precision: half-width of the median's interval, relative to the median, at which sampling may stop.
        min_samples: least number of latency samples per model.
        max_seconds: longest time to sample one pair of models; fewer than `min_samples` by then is a failure.
    """

    reach: Literal["local"] = "local"
    warmup_seconds: Annotated[float, Field(ge=0, le=60)] = 0.2
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


class Channels(_Table):
    """What the device's kernels make of channel counts.

    Attributes:
        quantum: widths at multiples of it make the best use of the kernels; most widths between cost as much as the
            next multiple, or more.
    """

    quantum: Annotated[int, Field(ge=1, le=1024)] = 1


class Profile(_Table):
    """A target device.

    Attributes:
        name: the file's name without its ending.
        schema_version: version of the file's layout, written `schema`.
        device: what the device is.
        runtime: how ONNX Runtime is set up there.
        measure: how it is measured.
        channels: what its kernels make of channel counts.
        constraints: what a student must meet there, written as `[[constraint]]` tables.
    """

    name: str
    schema_version: Annotated[Literal[1], Field(alias="schema")]
    device: Device
    runtime: Runtime
    measure: Measure = Measure()
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

    def is_device(self, arch: str, board: str = "") -> bool:
        """Say whether a machine is the profile's own device, so that numbers taken on it are measured, not proxy.

        Args:
            arch: the machine's architecture, as `platform.machine()` gives it.
            board: the machine's device-tree model; empty where it has none.
        """
        same_architecture = _architecture(arch) == _architecture(self.device.arch)
        return same_architecture and self.device.board.lower() in board.lower()

    @property
    def is_local_device(self) -> bool:
        """Whether this very machine is the profile's device."""
        return self.is_device(platform.machine(), local_board())


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """Read a profile, by path or by name.

    A text that ends in `.toml` or has a folder in it is a path. A name is looked up in `./profiles`, then in the
    folders of `$DEPLOYCOMPRESS_PROFILES`, then among the shipped profiles.

    Raises:
        ProfileError: there is no such profile, or the file is not one.

    Examples:
        >>> import deploycompress
        >>> deploycompress.load_profile("x86").runtime.providers
        ('CPUExecutionProvider',)
    """
    given = os.fspath(name_or_path)
    path = Path(given)
    if path.suffix == ".toml" or path.name != given:
        return _read(path)
    for folder in _folders():
        candidate = folder / f"{given}.toml"
        if candidate.is_file():
            return _read(candidate)
    names = profile_names()
    raise ProfileError(
        f"There is no profile {given!r}{_did_you_mean(given, names)}; known are {', '.join(names) or 'none'}, "
        "or give the path of a .toml file."
    )


def profile_names() -> tuple[str, ...]:
    """List the profiles that can be loaded by name, in alphabetical order."""
    files = (entry.name for folder in _folders() if folder.is_dir() for entry in folder.iterdir())
    return tuple(sorted({name.removesuffix(".toml") for name in files if name.endswith(".toml")}))


def local_board() -> str:
    """Read this machine's device-tree model; empty where there is none, as on any PC."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _folders() -> list[Traversable]:
    listed = os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep)
    return [Path("profiles"), *(Path(folder) for folder in listed if folder), _shipped_folder()]


def _shipped_folder() -> Traversable:
    try:
        return resources.files("deploycompress.profiles")
    except ModuleNotFoundError:  # run from a checkout that is not installed
        return Path(__file__).parents[1] / "profiles"


def _read(file: Traversable) -> Profile:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"Profile {file} cannot be read: {error.strerror}; known are {', '.join(profile_names())}."
        ) from error
    except UnicodeDecodeError as error:
        raise ProfileError(
            f"Profile {file} is not UTF-8 text (byte {error.start}); a profile is a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"Profile {file} is not valid TOML: {error}.") from error
    if "name" in table:
        raise ProfileError(f"Profile {file} has the unknown key 'name'; a profile is named after its file.")
    try:
        return Profile.model_validate({**table, "name": file.name.removesuffix(".toml")})
    except ValidationError as error:
        raise ProfileError(f"Profile {file}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    *tables, key = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    place = f"table [{'.'.join(tables)}]" if tables else "the top level"
    if first["type"] == "extra_forbidden":
        known = _known_keys(tables)
        return f"unknown key {key!r} in {place}{_did_you_mean(key, known)}; known are {', '.join(known)}."
    if first["type"] == "missing":
        return f"key {key!r} is missing in {place}."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key!r} in {place}: {message}" + ("" if message.endswith(".") else ".")
    return f"{key!r} in {place} is {first['input']!r}: {message.lower()}."


def _known_keys(tables: list[str]) -> list[str]:
    model: Any = Profile  # Any: walks from model class to model class by field annotation
    for table in tables:
        model = model.model_fields[table].annotation
    fields = cast("type[BaseModel]", model).model_fields
    return sorted(field.alias or name for name, field in fields.items() if (model, name) != (Profile, "name"))


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _require_known(name: str, known: Iterable[str], kind: str) -> None:
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        raise ValueError(f"unknown {kind} {name!r}{_did_you_mean(name, known)}; allowed are {listed}")


def _to_constraint(row: dict[str, float]) -> Constraint:
    if "max" not in row:
        raise ValueError("a constraint needs 'max' beside its metrics, such as latency_ratio = 1.0 and max = 0.5")
    try:
        return make_constraint({metric: factor for metric, factor in row.items() if metric != "max"}, row["max"])
    except UsageError as error:
        raise ValueError(str(error)) from error


def _architecture(name: str) -> str:
    return _ARCHITECTURE_SYNONYMS.get(name.lower(), name.lower())
