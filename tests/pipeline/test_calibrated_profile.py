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
from deploycompress.profile import Channels, Quantum
from deploycompress.profile_files import find_profile, load_profile, profile_names
from tests.calibration.test_findings import staircase

MACHINE = Machine(id="feed", arch="x86_64", board="", cpu="Some\nCPU", cores=2, system="Linux", governor="")


def calibration() -> Calibration:
    staircases = (
        staircase("conv3x3", Side.INPUT, 16),
        staircase("conv3x3", Side.OUTPUT, 8),
        staircase("conv1x1", Side.INPUT, None),
    )
    return Calibration(
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
        quanta=derive_quanta(Channels(quantum=4), staircases),
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
