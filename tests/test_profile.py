"""Profiles: what is shipped, where they are found, and what is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycompress.errors import ProfileError
from deploycompress.profile import Profile, load_profile, local_board, profile_names

MINIMAL = """
schema = 1
[device]
title = "some board"
arch = "aarch64"
[runtime]
providers = ["CPUExecutionProvider"]
"""


def written(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOYCOMPRESS_PROFILES", raising=False)
    return tmp_path


def test_shipped_profiles_are_found_from_anywhere(elsewhere: Path) -> None:
    assert {"x86", "jetson"} <= set(profile_names())
    assert load_profile("x86").runtime.providers == ("CPUExecutionProvider",)
    assert load_profile("jetson").runtime.providers[0] == "TensorrtExecutionProvider"


@pytest.mark.parametrize("name", ["x86", "jetson"])
def test_shipped_profiles_have_sources_a_quantum_and_a_constraint(name: str) -> None:
    profile = load_profile(name)
    assert profile.device.sources
    assert profile.channels.quantum > 1
    assert [row.expression for row in profile.constraints] == ["latency_ratio <= 0.5"]


def test_what_is_left_out_has_a_default(elsewhere: Path) -> None:
    profile = load_profile(written(elsewhere, MINIMAL))
    assert (profile.name, profile.measure.percentile, profile.measure.min_samples) == ("mine", 90.0, 64)
    assert profile.channels.quantum == 1
    assert profile.constraints == ()


def test_the_search_order_is_path_folder_variable_shipped(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("profiles", "listed", "given"):
        (elsewhere / folder).mkdir()
        written(elsewhere / folder, MINIMAL.replace("some board", folder), "x86")
    monkeypatch.setenv("DEPLOYCOMPRESS_PROFILES", os.pathsep.join(["nowhere", str(elsewhere / "listed")]))
    assert load_profile("given/x86.toml").device.title == "given"
    assert load_profile("x86").device.title == "profiles"
    (elsewhere / "profiles" / "x86.toml").unlink()
    assert load_profile("x86").device.title == "listed"
    monkeypatch.delenv("DEPLOYCOMPRESS_PROFILES")
    assert load_profile("x86").device.arch == "x86_64"


def test_an_unknown_name_lists_the_known_ones(elsewhere: Path) -> None:
    with pytest.raises(
        ProfileError, match=r"no profile 'jetsn', did you mean 'jetson'\?; known are jetson, x86"
    ) as caught:
        load_profile("jetsn")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("[runtime]", "[runtime]\nthread = 2"),
            r"unknown key 'thread' in table \[runtime\], did you mean 'threads'\?",
        ),
        (
            ("schema = 1", "schema = 1\nchanels = 3"),
            r"unknown key 'chanels' in the top level, did you mean 'channels'\?",
        ),
        (("schema = 1", "schema = 1\nname = 'x'"), "unknown key 'name'"),
        (("schema = 1", ""), "key 'schema' is missing in the top level"),
        (("schema = 1", "schema = 2"), "'schema' in the top level is 2"),
        (('arch = "aarch64"', ""), r"key 'arch' is missing in table \[device\]"),
        (("[runtime]", '[runtime]\nthreads = "2"'), r"'threads' in table \[runtime\] is '2'"),
        (("[runtime]", "[runtime]\nthreads = 0"), r"'threads' in table \[runtime\] is 0"),
        (("CPUExecutionProvider", "CUDAExecutionProvidr"), "did you mean 'CUDAExecutionProvider'"),
        (('["CPUExecutionProvider"]', "[]"), r"'providers' in table \[runtime\]"),
        (("[runtime]", '[measure]\nreach = "ssh"\n[runtime]'), r"'reach' in table \[measure\] is 'ssh'"),
        (("[runtime]", "[measure]\nmin_samples = 63\n[runtime]"), "'min_samples'"),
        (("[runtime]", "[measure]\npercentile = 99.0\n[runtime]"), "percentile 99 .* cannot be bounded"),
        (("[runtime]", "[channels]\nquantum = 0\n[runtime]"), "'quantum'"),
        (("[runtime]", "[[constraint]]\nlatency = 1.0\nmax = 3\n[runtime]"), "unknown metric 'latency'"),
        (("[runtime]", "[[constraint]]\nlatency_ms = 1.0\n[runtime]"), "a constraint needs 'max'"),
    ],
)
def test_what_is_wrong_is_named(elsewhere: Path, change: tuple[str, str], words: str) -> None:
    path = written(elsewhere, MINIMAL.replace(*change))
    with pytest.raises(ProfileError, match=words) as caught:
        load_profile(path)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[runtime.session]\n"session.no_such_key" = "1"', "unknown session key 'session.no_such_key'"),
        ('[runtime.session]\n"session.optimized_model_filepath" = "/tmp/x"', "unknown session key"),
        ('[runtime.session]\n"session.collect_node_memory_stats_to_file" = "/tmp/x"', "unknown session key"),
        ('[runtime.session]\n"session.intra_op.allow_spinning" = "banana"', "value 'banana'"),
        ('[runtime.provider_options.CPUExecutionProvider]\nuse_arena = "1"', "unknown CPUExecutionProvider option"),
        ('[runtime.provider_options.CUDAExecutionProvider]\ndevice_id = "1"', "unknown execution provider"),
    ],
)
def test_only_allowlisted_runtime_settings_are_accepted(elsewhere: Path, table: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        load_profile(written(elsewhere, MINIMAL + table))


def test_a_plugin_library_is_refused(elsewhere: Path) -> None:
    table = '[runtime.provider_options.TensorrtExecutionProvider]\ntrt_extra_plugin_lib_paths = "evil.so"'
    text = MINIMAL.replace("CPUExecutionProvider", "TensorrtExecutionProvider") + table
    with pytest.raises(ProfileError, match="trt_extra_plugin_lib_paths"):
        load_profile(written(elsewhere, text))


def test_bad_toml_is_refused_with_its_line(elsewhere: Path) -> None:
    with pytest.raises(ProfileError, match="line 3"):
        load_profile(written(elsewhere, "schema = 1\n[device]\ntitle = \n"))


def test_unreadable_files_are_refused(elsewhere: Path) -> None:
    (elsewhere / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (elsewhere / "folder.toml").mkdir()
    for name in ("binary.toml", "folder.toml", "missing.toml"):
        with pytest.raises(ProfileError, match=name):
            load_profile(name)


def test_a_machine_is_the_device_when_architecture_and_board_agree() -> None:
    jetson, x86 = load_profile("jetson"), load_profile("x86")
    assert jetson.is_device("aarch64", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super")
    assert not jetson.is_device("aarch64", "Raspberry Pi 5 Model B Rev 1.0")
    assert not jetson.is_device("x86_64")
    assert x86.is_device("x86_64")
    assert x86.is_device("AMD64")
    assert not x86.is_device("aarch64")
    assert x86.is_local_device == x86.is_device(os.uname().machine, local_board())


def test_the_digest_follows_the_content(elsewhere: Path) -> None:
    first = load_profile(written(elsewhere, MINIMAL))
    assert load_profile(written(elsewhere, "# a comment\n" + MINIMAL)).digest() == first.digest()
    assert load_profile(written(elsewhere, MINIMAL.replace("some", "other"))).digest() != first.digest()


def test_profiles_do_not_change_after_loading() -> None:
    profile = load_profile("x86")
    with pytest.raises(ValueError, match="frozen"):
        profile.name = "other"
    assert isinstance(profile, Profile)
