"""The check command on real files: exit codes, reports, baselines."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from deploycompress.cli.main import main
from tests.cli.gate_models import SOON, lay_out

HERE = ["check", "--profile", "here.toml", *SOON]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)


def limits(*expressions: str) -> list[str]:
    return [word for expression in expressions for word in ("--constraint", expression)]


def read(capsys: Capture) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize(("bound", "code", "verdict"), [("100", 0, "pass"), ("0.001", 1, "fail")])
def test_ratios_are_judged_against_the_teacher(bound: str, code: int, verdict: str, capsys: Capture) -> None:
    words = [*limits(f"latency_ratio <= {bound}", "params_ratio <= 1"), "--against", "slow.onnx", "--json", "fast.onnx"]
    assert main([*HERE, *words]) == code
    document = read(capsys)
    assert (document["verdict"], document["exit_code"], document["teacher"]) == (verdict, code, "slow.onnx")
    latency, counted = document["constraints"]
    assert (latency["verdict"], latency["evidence"]) == (verdict, "measured")
    assert (counted["verdict"], counted["evidence"]) == ("pass", "analytic")
    assert counted["interval"] == [counted["value"]] * 2
    assert counted["value"] == pytest.approx((3 * 8 * 9 + 2 * 64 * 9 + 24) / (3 * 64 * 9 + 2 * 64**2 * 9 + 192))


def test_absolute_limits_are_judged_on_the_device(capsys: Capture) -> None:
    size = Path("fast.onnx").stat().st_size / 2**20
    rows = limits("latency_ms <= 60000", f"file_mib <= {size!r}", "peak_rss_mib + activation_peak_mib <= 1e5")
    assert main([*HERE, *rows, "fast.onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "All limits are met: fast.onnx on profile here."
    assert sum(" pass " in line for line in lines) == 3


def test_proxy_refuses_absolute_limits_unless_allowed(capsys: Capture) -> None:
    words = ["check", "--profile", "elsewhere.toml", *SOON, *limits("latency_ms <= 60000"), "fast.onnx"]
    assert main([*words, "--json"]) == 4
    document = read(capsys)
    assert document["constraints"][0]["verdict"] is None
    assert "--allow-proxy" in document["constraints"][0]["reason"]
    assert document["verdict"] == "inconclusive"
    assert main([*words, "--json", "--allow-proxy"]) == 0
    document = read(capsys)
    assert document["constraints"][0]["evidence"] == "proxy"
    assert any(remark.startswith("proxy") for remark in document["remarks"])


def test_consent_to_proxy_cannot_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("DEPLOYCOMPRESS_ALLOW_PROXY", "1")
    words = ["check", "--profile", "elsewhere.toml", *SOON, *limits("latency_ms <= 60000"), "fast.onnx"]
    assert main(words) == 4
    assert "not judged" in capsys.readouterr().out


def test_ratios_on_another_machine_are_judged_and_marked(capsys: Capture) -> None:
    words = ["check", "--profile", "elsewhere.toml", *SOON, *limits("latency_ratio <= 100")]
    assert main([*words, "--against", "slow.onnx", "--json", "fast.onnx"]) == 0
    assert read(capsys)["constraints"][0]["evidence"] == "proxy"


@pytest.mark.slow
def test_a_limit_inside_the_interval_is_measured_again_and_then_inconclusive(capsys: Capture) -> None:
    # The latency of the model over its own lies around one: a limit of one is inside its interval or next to it.
    words = [*limits("latency_ratio <= 1"), "--against", "fast.onnx", "--json", "fast.onnx"]
    code = main([*HERE, *words])
    document = read(capsys)
    low, high = document["constraints"][0]["interval"]
    assert code == {"pass": 0, "fail": 1, "inconclusive": 4}[document["verdict"]]
    assert (document["verdict"] == "inconclusive") == (low <= 1 < high)
    if document["verdict"] == "inconclusive":
        assert document["student"]["latency_ms"]["starts"] == 4


def test_reports_are_written_where_asked(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    rows = limits("latency_ms <= 60000", "params <= 1")
    assert main([*HERE, *rows, "--junit", "c.xml", "--markdown", "c.md", "--github", "fast.onnx"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("::")]
    assert len(errors) == 1
    assert errors[0].startswith("::error title=fast.onnx on here::params <= 1 does not hold")
    outcomes = [case[0].tag for case in Xml.parse("c.xml").iter("testcase")]
    assert outcomes == ["system-out", "failure"]
    assert "| fail |" in Path("c.md").read_text()
    assert Path("summary.md").read_text() == Path("c.md").read_text()


def write_result(folder: Path, model: str, **student: object) -> Path:
    folder.mkdir()
    data = Path(model).read_bytes()
    (folder / "model.onnx").write_bytes(data)
    artifacts = {"model.onnx": {"sha256": hashlib.sha256(data).hexdigest()}}
    (folder / "result.json").write_text(json.dumps({"student": student, "artifacts": artifacts}))
    return folder / "result.json"


@pytest.mark.parametrize(("old", "new", "code"), [("slow.onnx", "fast.onnx", 0), ("fast.onnx", "slow.onnx", 1)])
def test_the_earlier_model_is_measured_again(old: str, new: str, code: int, tmp_path: Path, capsys: Capture) -> None:
    result = write_result(tmp_path / "main", old)
    words = ["--baseline", str(result), *(f"--max-regression={name}=5%" for name in ("latency", "file", "params"))]
    assert main([*HERE, *words, "--json", new]) == code
    document = read(capsys)
    assert document["baseline_measured_again"] is True
    assert {row["verdict"] for row in document["constraints"]} == {"fail" if code else "pass"}
    assert [row["evidence"] for row in document["constraints"]] == ["measured", "analytic", "analytic"]
    assert any("latency_ratio" in remark for remark in document["remarks"])


def test_what_check_prints_serves_as_a_baseline_on_the_same_machine_only(capsys: Capture) -> None:
    assert main([*HERE, *limits("file_mib <= 50"), "--json", "slow.onnx"]) == 0
    earlier = read(capsys)
    Path("earlier.json").write_text(json.dumps(earlier))
    words = ["--baseline", "earlier.json", "--max-regression", "latency=5%", "--json", "fast.onnx"]
    assert main([*HERE, *words]) == 0
    assert read(capsys)["baseline_measured_again"] is False
    earlier["machine"]["id"] = "another"
    Path("earlier.json").write_text(json.dumps(earlier))
    assert main([*HERE, *words, "--max-regression", "weights=0%"]) == 4
    latency, weights = read(capsys)["constraints"]
    assert latency["verdict"] is None
    assert "machine is 'another'" in latency["reason"]
    assert weights["verdict"] == "pass"


def test_an_interval_on_both_sides_of_a_limit_is_measured_once_more_and_then_exit_four(capsys: Capture) -> None:
    assert main([*HERE, *limits("file_mib <= 50"), "--json", "fast.onnx"]) == 0
    earlier = read(capsys)
    earlier["student"]["latency_ms"]["p50_interval"] = [1e-6, 1e6]  # nothing new can be told from it
    Path("earlier.json").write_text(json.dumps(earlier))
    words = ["--baseline", "earlier.json", "--max-regression", "latency=5%", "--max-regression", "file=0%"]
    assert main([*HERE, *words, "--json", "fast.onnx"]) == 4
    document = read(capsys)
    assert [row["verdict"] for row in document["constraints"]] == ["inconclusive", "pass"]
    assert (document["verdict"], document["student"]["latency_ms"]["starts"]) == ("inconclusive", 4)
    assert main([*HERE, *words, *limits("params <= 1"), "--json", "fast.onnx"]) == 1


def test_limits_that_were_left_out_are_no_limits_that_are_met(capsys: Capture) -> None:
    words = ["--baseline", "slow.onnx", "--max-regression", "file=0%"]
    assert main([*HERE, *words, "--junit", "c.xml", "--github", "fast.onnx"]) == 0
    captured = capsys.readouterr()
    said = "All limits that were judged are met; 1 of the profile's was not judged: fast.onnx on profile here."
    assert captured.out.splitlines()[0] == said
    assert [case[0].tag for case in Xml.parse("c.xml").iter("testcase")] == ["system-out", "skipped"]
    assert any(line.startswith("::notice ") for line in captured.err.splitlines())


def test_memory_is_judged_by_the_range_of_several_readings(capsys: Capture) -> None:
    assert main([*HERE, *limits("peak_rss_mib <= 60000"), "--json", "fast.onnx"]) == 0
    document = read(capsys)
    student, (row,) = document["student"], document["constraints"]
    low, high = student["peak_rss_interval_bytes"]
    assert low <= student["peak_rss_bytes"] <= high
    assert row["interval"] == [low / 2**20, high / 2**20]
    assert student["evidence"].keys() == student.keys() - {"evidence", "peak_rss_interval_bytes"}
    assert (student["evidence"]["latency_ms"], student["evidence"]["params"]) == ("measured", "analytic")


@pytest.mark.slow
def test_the_second_measurement_takes_longer_than_the_profile_allows_the_first(capsys: Capture) -> None:
    hasty = Path("here.toml").read_text().replace("precision = 0.01", "precision = 1e-6")
    Path("hasty.toml").write_text(re.sub(r"max_seconds = [\d.]+", "max_seconds = 1.0", hasty))
    words = ["check", "--profile", "hasty.toml", "--starts", "1", "--json", "fast.onnx"]
    assert main([*words, *limits("file_mib <= 50")]) == 0
    earlier = read(capsys)
    earlier["student"]["latency_ms"]["p50_interval"] = [1e-6, 1e6]
    Path("earlier.json").write_text(json.dumps(earlier))
    assert main([*words, "--baseline", "earlier.json", "--max-regression", "latency=5%"]) == 4
    once, again = earlier["student"]["latency_ms"], read(capsys)["student"]["latency_ms"]
    assert (once["starts"], again["starts"]) == (1, 2)
    assert again["n"] > 1.5 * once["n"]  # three times the time, on a machine that others may use


def test_teacher_and_baseline_are_two_different_questions(tmp_path: Path, capsys: Capture) -> None:
    words = [*limits("latency_ratio <= 100"), "--against", "slow.onnx", "--baseline", "fast.onnx"]
    assert main([*HERE, *words, "--max-regression", "latency=10000%", "--json", "fast.onnx"]) == 0
    ratio, growth = read(capsys)["constraints"]
    assert ratio["value"] < 0.5
    assert growth["value"] == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["fast.onnx"], 2, "needs the teacher; give it with --against"),
        ([*limits("accuracy >= 0.9"), "fast.onnx"], 2, "accuracy needs data"),
        ([*limits("latency_rato <= 1"), "fast.onnx"], 2, "latency_ratio"),
        (["--baseline", "fast.onnx", "fast.onnx"], 2, "go together"),
        (["--max-regression", "latency=5%", "fast.onnx"], 2, "go together"),
        (["--max-regression", "speed=5%", "--baseline", "fast.onnx", "fast.onnx"], 2, "quantities are latency"),
        (["--max-regression", "latency=5%", "--baseline", "absent.json", "fast.onnx"], 2, "absent.json"),
        (["--against", "absent.onnx", "fast.onnx"], 3, "no model file 'absent.onnx'"),
        (["absent.onnx"], 3, "no model file 'absent.onnx'"),
        (["--junit", "mine.txt", *limits("params <= 1"), "fast.onnx"], 2, "not written by this program"),
        (["--junit", "x", "--markdown", "x", *limits("params <= 1"), "fast.onnx"], 2, "the same file"),
        (["--junit", "absent/x.xml", *limits("params <= 1"), "fast.onnx"], 2, "does not exist"),
    ],
)
def test_refusals_have_their_exit_codes(words: list[str], code: int, message: str, capsys: Capture) -> None:
    Path("mine.txt").write_text("mine")
    assert main([*HERE, *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert Path("mine.txt").read_text() == "mine"
