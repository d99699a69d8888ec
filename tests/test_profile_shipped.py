"""The profiles that come with the package: complete, with sources, true to their own arithmetic, known to editors."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploycompress.profile import Profile
from deploycompress.profile_advice import advise
from deploycompress.profile_files import alias_target, load_profile, problems_of
from deploycompress.profile_schema import profile_schema
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net
from tests.quantize.runs import computed, in_int8
from tests.schema_check import violations

FOLDER = Path(__file__).resolve().parents[1] / "profiles"
FILES = sorted(FOLDER.glob("*.toml"))
EXPECTED = {
    *("jetson", "jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "jetson-orin-nano-super", "jetson-orin-nx"),
    *("jetson-agx-orin", "raspberry-pi-4", "raspberry-pi-5", "intel-n100", "x86", "x86-avx512-server"),
    "snapdragon-8-gen3",
}
DERIVED = re.compile(r"^peak_gflops_fp32 = ([\d.]+) +# derived: ([\d.]+) x ([\d.]+) x ([\d.]+)", re.MULTILINE)


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def test_all_profiles_are_there() -> None:
    assert {file.stem for file in FILES} == EXPECTED


def test_a_profile_is_in_order_and_complete(file: Path) -> None:
    assert problems_of(file) == ()
    profile = load_profile(file)
    assert profile.device.sources
    assert profile.channels.quantum > 1
    assert [row.expression for row in profile.constraints] == ["latency_ratio <= 0.5"]
    assert profile.runtime.providers[-1] == "CPUExecutionProvider"


def test_nothing_is_risky_but_what_is_known_to_be(file: Path) -> None:
    eight, half = (f"channels.{name}.quantum is 1, so widths are not snapped" for name in ("int8", "fp16"))
    known = {
        "jetson-nano": ["the stack's Python 3.6 is too old for the measuring agent", half],
        **{name: [eight] for name in ("intel-n100", "raspberry-pi-4", "raspberry-pi-5", "snapdragon-8-gen3")},
    }
    found = advise(load_profile(file))
    expected = known.get(file.stem, [])
    assert len(found) == len(expected)
    assert all(text.startswith(words) for text, words in zip(found, expected, strict=True))


def test_what_a_device_computes_in_goes_with_its_provider(file: Path) -> None:
    profile = load_profile(file)
    native, form = profile.precision.native, profile.precision.int8
    has_tensor_rt = profile.runtime.providers[0] == "TensorrtExecutionProvider"
    assert "fp32" in native
    assert ("fp16" in native) == has_tensor_rt
    # The Nano's graphics are older than 8-bit arithmetic; the Xavier's TensorRT would use it in float graphs, too.
    assert ("int8" in native) == (profile.name not in ("jetson-nano", "jetson-xavier-nx"))
    if "int8" not in native:
        return
    options = profile.runtime.provider_options.get("TensorrtExecutionProvider", {})
    assert "trt_int8_enable" not in options  # float graphs would be built in 8 bits, too
    assert form.quantized_bias != has_tensor_rt
    assert profile.channels.int8.quantum % 32 == 0 if has_tensor_rt else not form.reduced_range
    assert form.per_channel
    # The zero point of signed activations is 0 where they are wanted signed.
    assert (form.activations == "int8") == form.symmetric_activations == has_tensor_rt


ON_THE_PROCESSOR = [file for file in FILES if load_profile(file).runtime.providers[0] == "CPUExecutionProvider"]


@pytest.mark.parametrize("processor", ON_THE_PROCESSOR, ids=lambda file: file.stem)
def test_the_processor_computes_whole_networks_in_its_form(processor: Path, tmp_path: Path) -> None:
    graph = shipped_form(residual_net())
    kernels = computed(in_int8(graph, load_profile(processor).precision.int8), tmp_path)

    assert kernels["QLinearConv"] == sum(node.op in ("Conv", "Pad") for node in graph.nodes) == 7 + 1
    assert not {"Conv", "FusedConv", "Relu"} & set(kernels)


def test_a_derived_peak_is_the_product_beside_it(file: Path) -> None:
    text = file.read_text()
    assert ("peak_gflops_fp32" in text) == bool(DERIVED.search(text))
    for written, *factors in DERIVED.findall(text):
        assert float(written) == pytest.approx(math.prod(map(float, factors)), rel=0.005)


def test_a_board_does_not_take_this_machine_for_itself() -> None:
    boards = [load_profile(file) for file in FILES if load_profile(file).device.arch == "aarch64"]
    assert len(boards) == 10
    assert not any(board.is_device("aarch64", "Some Other Board", "Cortex-A53") for board in boards)
    assert {board.measure.reach for board in boards} == {"ssh", "exec"}


def test_the_alias_keeps_the_name_that_people_know() -> None:
    assert alias_target(FOLDER / "jetson.toml") == "jetson-orin-nano-super"
    assert load_profile("jetson").name == "jetson-orin-nano-super"


def test_no_profile_names_a_machine_of_somebody(file: Path) -> None:
    settings = "\n".join(line.partition("#")[0] for line in file.read_text().splitlines())
    assert not re.search(r"ssh://|@|(?:\d{1,3}\.){3}\d{1,3}", settings)


def test_the_shipped_schema_is_that_of_the_program() -> None:
    shipped = json.loads((FOLDER / "profile.schema.json").read_text())
    assert shipped == profile_schema(), "write it anew: deploycompress profiles schema > profiles/profile.schema.json"


def test_every_profile_points_editors_to_the_schema(file: Path) -> None:
    assert file.read_text().startswith("#:schema ./profile.schema.json\n")


def test_the_schema_accepts_every_shipped_profile(file: Path) -> None:
    assert violations(tomllib.loads(file.read_text()), profile_schema()) == []


def full_table() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "jetson-orin-nano-super.toml").read_text())


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["device"].pop("arch"),
        lambda table: table["runtime"].update(thread=2),
        lambda table: table["runtime"].update(threads=0),
        lambda table: table["runtime"].update(threads="2"),
        lambda table: table["runtime"].update(providers=["CUDAExecutionProvidr"]),
        lambda table: table["runtime"].update(session={"session.no_such_key": "1"}),
        lambda table: table["runtime"].update(session={"session.dynamic_block_base": 4}),
        lambda table: table["runtime"]["provider_options"].update(CPUExecutionProvider={"use_arena": "1"}),
        lambda table: table["runtime"]["provider_options"]["TensorrtExecutionProvider"].update(trt_fp16_enable="yes"),
        lambda table: table["measure"].update(reach="telnet"),
        lambda table: table["channels"].update(quanta={"conv3x3": {"input": 8}}),
        lambda table: table["channels"].update(quanta={"convolution": {"input": 8, "output": 8}}),
        lambda table: table["channels"]["int8"].update(quantum=0),
        lambda table: table["channels"]["int8"].update(quanta={"convolution": {"input": 8, "output": 8}}),
        lambda table: table["channels"]["int8"].update(int8={"quantum": 4}),
        lambda table: table["precision"].update(native=["int4"]),
        lambda table: table["precision"]["int8"].update(activations="int4"),
        lambda table: table["constraint"].append({"latency_ratio": 1.0}),
        lambda table: table["constraint"].append({"latency": 1.0, "max": 2.0}),
        lambda table: table.update(name="x"),
        lambda table: table.update(alias="x86"),
        lambda table: table.update(schema=2),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(change: Any, tmp_path: Path) -> None:
    table = full_table()
    assert violations(table, profile_schema()) == []
    change(table)
    assert violations(table, profile_schema()) != []
    if "alias" not in table and "name" not in table:
        with pytest.raises(ValueError, match="validation error"):
            Profile.model_validate({**table, "name": "any"})


def test_the_schema_describes_every_key() -> None:
    tables = profile_schema()["definitions"]
    for name in tables.keys() - {"Alias"}:
        assert all(entry["description"].endswith(".") for entry in tables[name]["properties"].values())
