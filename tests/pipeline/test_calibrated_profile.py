"""What is written into a calibrated profile, and what of the profile stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from deploycompress.calibration.findings import derive_quanta
from deploycompress.calibration.staircase import Side
from deploycompress.errors import OutputError, UsageError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.conditions import Conditions, Machine
from deploycompress.pipeline.calibrate import Calibration
from deploycompress.pipeline.calibrated_profile import calibrated_toml, check_writable, default_path, write_calibrated
from deploycompress.precision import Precision
from deploycompress.profile import Channels, ChannelSteps, Quantum
from deploycompress.profile_files import find_profile, load_profile, profile_names
from tests.calibration.test_findings import staircase

MACHINE = Machine(id="feed", arch="x86_64", board="", cpu="Some\nCPU", cores=2, system="Linux", governor="")


def calibration(precision: Precision = Precision.FP32) -> Calibration:
    staircases = (
        staircase("conv3x3", Side.INPUT, 16),
        staircase("conv3x3", Side.OUTPUT, 8),
        staircase("conv1x1", Side.INPUT, None),
    )
    return Calibration(
        precision=precision,
        conditions=Conditions(
            machine=MACHINE,
            onnxruntime="1.31.1",
            profile="board",
            profile_digest="0",
            providers=("CPUExecutionProvider",),
            threads=1,
            percentile=90.0,
            confidence=0.95,
            evidence=Evidence.MEASURED,
        ),
        staircases=staircases,
        quanta=derive_quanta(ChannelSteps(quantum=4), staircases),
        table=None,
        table_path=None,
        students=0,
        without_rule=(),
        date="2026-11-21",
        seconds=1.0,
    )


@pytest.mark.parametrize(
    "channels",
    ["", "[channels]\nquantum = 4 # assumed\n", "channels = { quantum = 4 }\n", "[channels]\n# nothing\n",
     "[channels]\nquantum = 4\n[channels.quanta.gemm]\ninput = 2\noutput = 2\n", "channels.quantum = 4\n"],
)  # fmt: skip
def test_every_way_to_write_channels_is_replaced(channels: str) -> None:
    head, tail = ("", channels) if channels.startswith("[") else (channels, "")
    text = (
        f"# mine\nschema = 1\n{head}\n[device]\ntitle = 'x' # so\n{tail}\n[[constraint]]\nlatency_ms = 1.0\nmax = 5.0\n"
    )
    written = calibrated_toml(text, calibration(), model="net.onnx")
    table = tomllib.loads(written)
    assert table["channels"] == {"quantum": 16, "quanta": {"conv3x3": {"input": 16, "output": 8}}}
    assert table["device"] == {"title": "x"}
    assert table["constraint"] == [{"latency_ms": 1.0, "max": 5.0}]
    for part in ("# mine", "# so", "2026-11-21", "feed", "1.31.1", "net.onnx", "conv1x1, input: inconclusive"):
        assert part in written
    assert "Some CPU" in written
    again = tomllib.loads(calibrated_toml(written, calibration(), model="net.onnx"))
    assert again == table


QUANTA = {"conv3x3": {"input": 16, "output": 8}}
OTHERS = (
    "channels = { quantum = 4, int8 = { quantum = 2, quanta = { gemm = { input = 2, output = 2 } } } }\n",
    "channels.quantum = 4\nchannels.int8.quantum = 2\nchannels.fp16.quantum = 8\n",
    "[channels]\nquantum = 4\n[channels.quanta.gemm]\ninput = 2\noutput = 2\n"
    "[channels.int8]\n# eight\nquantum = 2\n[channels.fp16]\nquantum = 8 # half\n",
    "[channels.int8.quanta.gemm]\ninput = 4\noutput = 4\n",
    "",
)


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("channels", OTHERS)
def test_what_is_known_of_other_precisions_stays(channels: str, precision: Precision) -> None:
    head, tail = ("", channels) if channels.startswith("[") else (channels, "")
    text = f"schema = 1\n{head}\n[device]\ntitle = 'x'\n{tail}\n[[constraint]]\nlatency_ms = 1.0\nmax = 5.0\n"
    before = Channels.model_validate(tomllib.loads(text).get("channels", {}))
    written = calibrated_toml(text, calibration(precision), model="net.onnx")
    after = Channels.model_validate(tomllib.loads(written)["channels"])
    assert after.at(precision) == ChannelSteps.model_validate({"quantum": 16, "quanta": QUANTA})
    assert [after.at(other) for other in Precision if other is not precision] == [
        before.at(other) for other in Precision if other is not precision
    ]
    assert f"in {precision} with net.onnx" in written
    assert ("# half" in text and precision is not Precision.FP16) == ("# half" in written)


def test_remarks_stand_in_the_table_they_are_about() -> None:
    written = calibrated_toml(f"schema = 1\n{OTHERS[2]}", calibration(), model="net.onnx")
    assert written.index("Calibrated") < written.index("[channels.int8]")
    in_eight = calibrated_toml(written, calibration(Precision.INT8), model="other.onnx")
    assert in_eight.index("[channels.fp16]") < in_eight.index("[channels.int8]") < in_eight.index("with other.onnx")


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_can_be_calibrated(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_calibrated(path, name, calibration(), model="net.onnx")
    found, before = load_profile(path), load_profile(name)
    assert found.channels.quanta["conv3x3"] == Quantum(input=16, output=8)
    assert found.model_dump(exclude={"name", "channels"}) == before.model_dump(exclude={"name", "channels"})
    outside = [
        line
        for line in find_profile(name).read_text(encoding="utf-8").split("[channels]")[0].splitlines()
        if line.startswith("#")
    ]
    assert all(line in path.read_text() for line in outside)


def test_a_file_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(OutputError, match="was not there when calibration began"):
        write_calibrated(path, "x86", calibration(), model="net.onnx")
    assert path.read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.toml"]
    write_calibrated(path, "x86", calibration(), model="net.onnx", force=True)
    assert load_profile(path).channels.quantum == 16
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_calibrated(tmp_path / "folder.toml", "x86", calibration(), model="net.onnx", force=True)
    assert not list(tmp_path.glob(".*"))


def test_the_file_is_named_after_the_profile(tmp_path: Path) -> None:
    assert default_path("x86", "x86") == Path("x86.calibrated.toml")
    assert default_path("jetson", "jetson-orin-nano-super") == Path("jetson-orin-nano-super.calibrated.toml")
    assert default_path("boards/mine.toml", "mine") == Path("boards/mine.calibrated.toml")
    assert default_path("mine.calibrated.toml", "mine.calibrated") == Path("mine.calibrated.toml")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "there.toml"
    path.write_text("")
    with pytest.raises(OutputError, match="--force"):
        check_writable(path, force=False)
    check_writable(path, force=True)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(OutputError, match="exists"):
        check_writable(tmp_path / "folder.toml", force=True)
    with pytest.raises(OutputError, match="no folder"):
        check_writable(tmp_path / "absent" / "mine.toml", force=False)
    with pytest.raises(UsageError, match="toml"):
        check_writable(tmp_path / "mine.yaml", force=False)
