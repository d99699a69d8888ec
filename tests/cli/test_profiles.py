"""The commands about profiles: lists, checks, new files, the schema."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from deploycompress.cli.main import main
from deploycompress.local_machine import local_cpu
from deploycompress.profile_files import load_profile, profile_names
from deploycompress.profile_schema import profile_schema

SHIPPED = Path(__file__).resolve().parents[2] / "profiles"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOYCOMPRESS_PROFILES", raising=False)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["profiles", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_profile_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert tuple(lines) == profile_names()
    assert "= jetson-orin-nano-super" in lines["jetson"]
    assert "Tensorrt, CUDA, CPU" in lines["jetson-nano"]
    assert lines["x86"].split()[-1] == ("yes" if platform.machine() == "x86_64" else "no")


def test_the_list_as_json_tells_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert tuple(entries) == profile_names()
    for name, entry in entries.items():
        profile = load_profile(name)
        assert entry["providers"] == list(profile.runtime.providers)
        assert entry["is_this_machine"] == profile.is_local_device
        assert entry["alias_of"] == ("" if profile.name == name else profile.name)


def test_a_profile_that_is_not_valid_does_not_hide_the_others(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "profiles").mkdir()
    (elsewhere / "profiles" / "broken.toml").write_text("schema = 1\n")
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "not valid: Profile profiles/broken.toml: key 'device' is missing" in out
    assert len(out.splitlines()) == 1 + len(profile_names())
    assert "problem" in json.loads(run(capsys, "list", "--json")[1])[0]


def test_every_problem_of_every_file_is_listed(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = elsewhere / "good.toml", elsewhere / "bad.toml"
    good.write_text((SHIPPED / "x86.toml").read_text())
    bad.write_text(good.read_text().replace("threads = 1", "threads = 0").replace('arch = "x86_64"', ""))
    code, out, _ = run(capsys, "validate", str(good), str(bad), "nothing", "jetson-nano")
    assert code == 2
    lines = out.splitlines()
    assert lines[0] == f"{good}: ok"
    assert [line for line in lines if line.startswith(f"{bad}: problem:")] == lines[1:3]
    assert "'arch' is missing" in out
    assert "'threads' in table [runtime] is 0" in out
    assert lines[3].startswith("nothing: problem: There is no profile 'nothing'")
    assert lines[4].startswith("jetson-nano: warning: ")
    documents = json.loads(run(capsys, "validate", "--json", str(good), str(bad))[1])
    assert [len(document["problems"]) for document in documents] == [0, 2]


def test_risks_alone_do_not_fail_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "validate", "jetson-nano")[0] == 0
    assert run(capsys, "validate", *(str(file) for file in SHIPPED.glob("*.toml")))[0] == 0
    assert run(capsys, "validate")[0] == 2


def test_a_new_profile_is_valid_and_found_by_its_name(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "new", "my-board")
    assert (code, out) == (0, "profiles/my-board.toml\n")
    assert "my-board" in profile_names()
    assert load_profile("my-board").runtime.providers == ("CPUExecutionProvider",)
    assert (elsewhere / "profiles" / "my-board.toml").read_text().count("#") > 5


def test_a_new_profile_of_this_machine_is_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "new", "mine", "--here")[0] == 0
    profile = load_profile("mine")
    assert profile.is_local_device
    assert (profile.device.arch, profile.device.cpu_model) == (platform.machine(), local_cpu())
    assert profile.runtime.threads <= len(os.sched_getaffinity(0))
    kibibytes = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert profile.device.ram_bytes == 1024 * int(kibibytes)


def test_a_copy_keeps_facts_and_comments(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "new", "boards/pi.toml", "--from", "raspberry-pi-5")[0] == 0
    text = (elsewhere / "boards" / "pi.toml").read_text()
    shipped = (SHIPPED / "raspberry-pi-5.toml").read_text()
    assert f"#:schema ./profile.schema.json\n{text}" == shipped
    assert run(capsys, "new", "other", "--from", "jetson", "--here")[0] == 0
    other, jetson = load_profile("other"), load_profile("jetson")
    assert other.is_local_device
    assert other.runtime.providers == jetson.runtime.providers
    assert other.device.sources == (*jetson.device.sources, "this machine itself")
    facts = {"accelerator", "peak_gflops_fp32", "memory_bandwidth_gbs", "power_watts", "power_mode", "not_board"}
    assert not facts & other.device.model_fields_set
    assert facts & jetson.device.model_fields_set
    text = (elsewhere / "profiles" / "other.toml").read_text()
    assert text.startswith("# This machine, from profile jetson-orin-nano-super: ")
    assert "current default board" not in text
    assert "# as" in text or "# assumed" in text  # comments that are not about the device stay


def test_a_base_that_is_no_profile_is_refused(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "tool.toml").write_text("[tool]\nname = 'x'\n")
    for more in ([], ["--here"]):
        code, out, err = run(capsys, "new", "mine", "--from", "tool.toml", *more)
        assert (code, out) == (2, "")
        assert "tool.toml" in err
    assert not (elsewhere / "profiles").exists()


def test_nothing_is_overwritten(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "mine.toml").write_text("precious")
    code, out, err = run(capsys, "new", "./mine.toml")
    assert (code, out) == (2, "")
    assert "is there already" in err
    assert (elsewhere / "mine.toml").read_text() == "precious"


@pytest.mark.parametrize("name", ["", "a/b", "-x.y/z", "..", "a b"])
def test_what_is_no_name_is_refused(name: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "new", "--", name)
    assert code == 2
    assert "is no name for a profile" in err
    assert list(elsewhere.iterdir()) == []


def test_an_unknown_base_is_refused_before_anything_is_written(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "new", "mine", "--from", "raspberry-pi-6")
    assert code == 2
    assert "did you mean 'raspberry-pi-5'" in err
    assert list(elsewhere.iterdir()) == []


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema")
    assert code == 0
    assert json.loads(out) == profile_schema()
    assert out == (SHIPPED / "profile.schema.json").read_text()


def test_a_profile_is_shown_with_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "show", "x86")[1]
    assert 'name = "x86"\n' in out
    assert 'measure.reach = "local"\n' in out
    shown = json.loads(run(capsys, "show", "--json", "jetson")[1])
    assert (shown["name"], shown["schema"]) == ("jetson-orin-nano-super", 1)
    assert run(capsys, "show", "absent")[0] == 2
