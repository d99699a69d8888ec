"""What a valid profile may disappoint with."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import onnx
import onnxruntime
import pytest

from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_advice import about_saturation, advise, parse_version
from deploycompress.profile_files import load_profile


def changed(**tables: dict[str, object]) -> Profile:
    """Give a profile without any risk, with some keys changed."""
    record = load_profile("raspberry-pi-5").model_dump(by_alias=True)
    record["channels"]["int8"]["quantum"] = 4
    for table, keys in tables.items():
        record[table] = {**record[table], **keys}
    return Profile.model_validate(record)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"device": {"stack": "JetPack 5, Python 3.8"}, "runtime": {"min_onnxruntime": "1.20"}},
            "1.19.2 is the last release with a wheel for the stack's Python 3.8",
        ),
        (
            {"device": {"stack": "Python 3.10"}, "runtime": {"min_onnxruntime": "1.24"}},
            "1.23.2 is the last release",
        ),
        ({"device": {"stack": "Python 3.7"}}, "Python 3.7 is too old for the measuring agent, which needs 3.8"),
        (
            {"runtime": {"max_opset": 18, "min_onnxruntime": "1.12"}},
            "max_opset is 18, but ONNX Runtime 1.12 loads up to 17",
        ),
        ({"runtime": {"max_ir": 9, "min_onnxruntime": "1.15.1"}}, "max_ir is 9, but ONNX Runtime 1.15.1 loads up to 8"),
        ({"device": {"sources": ()}}, "device.sources is empty"),
        ({"device": {"board": ""}}, "every aarch64 machine counts as this device"),
        ({"channels": {"quantum": 1}}, "channels.quantum is 1, so widths are not snapped; find it with deploycompress"),
        ({"channels": {"int8": {"quantum": 1}}}, "channels.int8.quantum is 1"),
        ({"channels": {"int8": {}}}, "deploycompress profiles calibrate PROFILE --model FILE --precision int8."),
        ({"precision": {"native": ("fp32", "fp16", "int8")}}, "channels.fp16.quantum is 1"),
    ],
)
def test_a_risk_is_named(tables: dict[str, dict[str, object]], words: str) -> None:
    [found] = advise(changed(**tables))
    assert words in found


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"device": {"stack": "Python 3.8"}, "runtime": {"min_onnxruntime": "1.19.2"}},
        {"device": {"stack": "Python 3.13"}, "runtime": {"min_onnxruntime": "1.31"}},
        {"runtime": {"max_opset": 26, "max_ir": 13, "min_onnxruntime": "1.31"}},
        {"runtime": {"max_opset": 18, "min_onnxruntime": "1.14"}},
        {"device": {"board": ""}, "measure": {"reach": "local"}},
        {"channels": {"quantum": 1, "quanta": {"gemm": {"input": 4, "output": 4}}}},
        {"channels": {"int8": {"quanta": {"gemm": {"input": 1, "output": 1}}}}},
        {"precision": {"native": ("fp32",)}, "channels": {"int8": {"quantum": 1}}},
    ],
)
def test_what_is_fine_is_not_mentioned(tables: dict[str, dict[str, object]]) -> None:
    assert advise(changed(**tables)) == ()


def test_the_newest_row_holds_for_this_onnx_runtime() -> None:
    version = ".".join(onnxruntime.__version__.split(".")[:2])
    newest = {"max_opset": 26, "max_ir": 13, "min_onnxruntime": version}
    assert advise(changed(runtime=newest)) == ()
    value = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", value[:1], value[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 26)])
    model.ir_version = 13
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_outputs()] == ["y"]


def test_versions_are_compared_by_their_numbers() -> None:
    assert parse_version("1.9.0") < parse_version("1.19") < parse_version("1.19.2") < parse_version("1.31.1+cpu")
    assert parse_version("") == parse_version("unknown") == ()


on_x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 machine")


def x86_in(**form: object) -> Profile:
    record = load_profile("x86").model_dump(by_alias=True)
    record["precision"]["int8"] |= form
    return Profile.model_validate(record)


@on_x86
def test_processors_without_vnni_are_warned_about() -> None:
    found = about_saturation(x86_in(), Precision.INT8, cpu_flags=("avx2", "avx512f"))
    assert "neither avx512_vnni nor avx_vnni" in found
    assert "set reduced_range = true in [precision.int8]" in found
    assert about_saturation(x86_in(), Precision.INT8, cpu_flags=())


@on_x86
def test_this_machines_own_flags_are_looked_at() -> None:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert bool(about_saturation(x86_in(), Precision.INT8)) == (not re.search(r"\bavx(512)?_vnni\b", text))


@pytest.mark.parametrize(
    ("profile", "precision", "flags"),
    [
        (x86_in(), Precision.INT8, ("avx512_vnni",)),
        (x86_in(), Precision.INT8, ("avx_vnni",)),
        (x86_in(), Precision.FP32, ()),
        (x86_in(), Precision.FP16, ()),
        (x86_in(reduced_range=True), Precision.INT8, ()),
        (load_profile("raspberry-pi-5"), Precision.INT8, ()),
        (load_profile("jetson"), Precision.INT8, ()),
    ],
)
def test_where_nothing_saturates_nothing_is_said(
    profile: Profile, precision: Precision, flags: tuple[str, ...]
) -> None:
    assert about_saturation(profile, precision, cpu_flags=flags) == ""
