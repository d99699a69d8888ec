"""Profiles: what is shipped, where they are found, and what is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.errors import ProfileError
from deploycompress.local_machine import local_board
from deploycompress.precision import Precision
from deploycompress.profile import Profile, Quantum
from deploycompress.profile_files import alias_target, load_profile, problems_of, profile_names

SHIPPED = Path(__file__).resolve().parents[1] / "profiles"
ODD = ("0", "-1", "1.5", "nan", "true", "''", "[]", "{}", "[[1]]", "{a = {b = 1}}", "2026-11-21", "9" * 30, "['x', 1]")
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
        ProfileError, match=r"no profile 'jetsn', did you mean 'jetson'\?; known are intel-n100, jetson, "
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
        (("[runtime]", '[measure]\nreach = "telnet"\n[runtime]'), r"'reach' in table \[measure\] is 'telnet'"),
        (("[runtime]", "[measure]\nmin_samples = 63\n[runtime]"), "'min_samples'"),
        (("[runtime]", "[measure]\npercentile = 99.0\n[runtime]"), "percentile 99 .* cannot be bounded"),
        (("[runtime]", "[channels]\nquantum = 0\n[runtime]"), "'quantum'"),
        (("[runtime]", "[channels.int8]\nquantum = 0\n[runtime]"), r"'quantum' in table \[channels.int8\]"),
        (("[runtime]", "[channels.int4]\nquantum = 4\n[runtime]"), "known are fp16, int8, quanta, quantum"),
        (
            ("[runtime]", "[channels.int8]\nquantun = 4\n[runtime]"),
            r"'quantun' in table \[channels.int8\], did you mean 'quantum'",
        ),
        (
            ("[runtime]", "[channels.fp16.quanta.conv]\ninput = 8\noutput = 8\n[runtime]"),
            r"table \[channels.fp16\]: unknown operator kind 'conv'",
        ),
        (("[runtime]", "[[constraint]]\nlatency = 1.0\nmax = 3\n[runtime]"), "unknown metric 'latency'"),
        (("[runtime]", "[[constraint]]\nlatency_ms = 1.0\n[runtime]"), "a constraint needs 'max'"),
        (("[runtime]", "[channels.quanta.conv3x3]\ninput = 8\n[runtime]"), "key 'output' is missing"),
        (
            ("[runtime]", "[channels.quanta.conv3x3]\ninput = 8\noutput = 8\nsides = 2\n[runtime]"),
            r"unknown key 'sides' in table \[channels.quanta.conv3x3\]; known are input, output",
        ),
        (("[runtime]", "[channels.quanta.convolution]\ninput = 8\noutput = 8\n[runtime]"), "kind 'convolution'"),
        (("[runtime]", "[channels.quanta.conv3x3]\ninput = 8\noutput = 0\n[runtime]"), "'output' in table"),
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
        ("[runtime.session]\n'session.dynamic_block_base' = 4", "'session.dynamic_block_base' in table"),
        (
            "[runtime.provider_options.CPUExecutionProvider]\na = 1.5",
            "'a' in table .* is text, a whole number, or true",
        ),
        ('[runtime.session]\n"session.disable_cpu_ep_fallback" = "1"', "contradicts CPUExecutionProvider"),
    ],
)
def test_only_allowlisted_runtime_settings_are_accepted(elsewhere: Path, table: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        load_profile(written(elsewhere, MINIMAL + table))


def test_a_plugin_library_is_refused(elsewhere: Path) -> None:
    table = '[runtime.provider_options.TensorrtExecutionProvider]\ntrt_extra_plugin_lib_paths = "evil.so"'
    text = MINIMAL.replace("CPUExecutionProvider", "TensorrtExecutionProvider") + table
    with pytest.raises(ProfileError, match=r"trt_extra_plugin_lib_paths.*, which loads code and so may not stand"):
        load_profile(written(elsewhere, text))


def test_a_profile_with_several_faults_says_how_many(elsewhere: Path) -> None:
    text = MINIMAL.replace('arch = "aarch64"', "").replace("[runtime]", "[runtime]\nthreads = 0\nthread = 1")
    path = written(elsewhere, text)
    problems = problems_of(path)
    assert [text.split(" in ")[0] for text in problems] == [
        "key 'arch' is missing",
        "'threads'",
        "unknown key 'thread'",
    ]
    with pytest.raises(ProfileError, match="2 more such problems"):
        load_profile(path)
    assert problems_of(written(elsewhere, MINIMAL)) == ()


def test_an_alias_is_the_profile_it_stands_for(elsewhere: Path) -> None:
    folder = elsewhere / "mine"
    folder.mkdir()
    path = written(folder, 'schema = 1\nalias = "target"\n', "short")
    written(folder, MINIMAL, "target")
    assert load_profile(path) == load_profile(folder / "target.toml")
    assert load_profile(path).name == "target"
    assert (alias_target(path), alias_target(folder / "target.toml")) == ("target", "")
    assert problems_of(path) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('schema = 1\nalias = "jetsn"', "alias of 'jetsn': There is no profile 'jetsn', did you mean 'jetson'"),
        ('schema = 1\nalias = "jetson"', "alias of 'jetson', which is an alias itself"),
        ('schema = 1\nalias = "mine"', "alias of 'mine', which is an alias itself"),
        ('schema = 1\nalias = "./x86.toml"', "an alias stands for a name, not for a path"),
        ('schema = 1\nalias = "../x86"', "an alias stands for a name, not for a path"),
        ("schema = 1\nalias = 3", "an alias holds"),
        ('schema = 2\nalias = "x86"', "an alias holds"),
        ('alias = "x86"', "an alias holds"),
        ('schema = 1\nalias = "x86"\n[runtime]\nthreads = 2', "an alias holds"),
    ],
)
def test_what_is_wrong_with_an_alias_is_named(elsewhere: Path, text: str, words: str) -> None:
    path = written(elsewhere, text)
    with pytest.raises(ProfileError, match=words) as caught:
        load_profile(path)
    assert "mine.toml" in str(caught.value)
    assert problems_of(path) == (str(caught.value),)


def test_every_kind_of_operator_has_a_quantum(elsewhere: Path) -> None:
    table = "[channels]\nquantum = 4\n[channels.quanta.conv3x3]\ninput = 8\noutput = 16\n"
    channels = load_profile(written(elsewhere, MINIMAL + table)).channels
    assert (channels.for_kind("conv3x3").input, channels.for_kind("conv3x3").output) == (8, 16)
    assert channels.for_kind("gemm") == Quantum(input=4, output=4)


def test_each_precision_has_steps_of_its_own_or_none(elsewhere: Path) -> None:
    table = "[channels]\nquantum = 16\n[channels.int8]\nquantum = 4\nquanta.gemm = { input = 2, output = 8 }\n"
    channels = load_profile(written(elsewhere, MINIMAL + table)).channels
    single, eight, half = (channels.at(precision) for precision in (Precision.FP32, Precision.INT8, Precision.FP16))
    assert (single.quantum, eight.quantum, half.quantum) == (16, 4, 1)  # those of another precision would be wrong
    assert (eight.for_kind("gemm"), eight.for_kind("conv3x3")) == (
        Quantum(input=2, output=8),
        Quantum(input=4, output=4),
    )
    assert (single.is_known, eight.is_known, half.is_known) == (True, True, False)


@pytest.mark.parametrize("kind", ["conv1x1", "conv3", "depthwise3x3", "grouped5x1", "conv_transpose", "gemm", "matmul"])
def test_kinds_of_operators_are_understood(elsewhere: Path, kind: str) -> None:
    table = f"[channels.quanta.{kind}]\ninput = 1\noutput = 2\n"
    assert set(load_profile(written(elsewhere, MINIMAL + table)).channels.quanta) == {kind}


def test_bad_toml_is_refused_with_its_line(elsewhere: Path) -> None:
    with pytest.raises(ProfileError, match="line 3"):
        load_profile(written(elsewhere, "schema = 1\n[device]\ntitle = \n"))


def test_a_name_or_a_file_of_unreasonable_length_is_refused(elsewhere: Path) -> None:
    with pytest.raises(ProfileError, match="There is no profile"):
        load_profile("x" * 5000)
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile("x" * 5000 + ".toml")
    with pytest.raises(ProfileError, match="more than 1,048,576 bytes"):
        load_profile(written(elsewhere, MINIMAL + "#" * 2**20))
    with pytest.raises(ProfileError, match="more than 1,048,576 bytes"):
        load_profile("/dev/zero")


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_profile_is_refused_or_valid_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [line for line in (SHIPPED / "jetson-orin-nano-super.toml").read_text().splitlines() if line]
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        key = lines[index].partition("=")[0]
        lines[index] = data.draw(
            st.sampled_from(
                ["", "[", "[[device]]", "[runtime.x]", "alias = 'x86'", *(f"{key} = {value}" for value in ODD)]
            )
            | st.text(max_size=20)
        )
    path = tmp_path_factory.mktemp("damaged") / "mine.toml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    problems = problems_of(path)
    assert all("\n" not in problem for problem in problems)
    if problems:
        with pytest.raises(ProfileError):
            load_profile(path)
    else:
        assert load_profile(path).runtime.providers


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


def test_devices_that_are_called_alike_are_told_apart() -> None:
    plain, super_ = load_profile("jetson-orin-nano"), load_profile("jetson-orin-nano-super")
    for suffix, is_super in (("", False), (" Super", True)):
        board = f"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit{suffix}"
        assert (plain.is_device("aarch64", board), super_.is_device("aarch64", board)) == (not is_super, is_super)
    assert not super_.is_device("aarch64", "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super")
    pi = load_profile("raspberry-pi-4")
    assert pi.is_device("aarch64", "Raspberry Pi 4 Model B Rev 1.4")
    assert not pi.is_device("aarch64", "Raspberry Pi 400 Rev 1.0")


def test_a_processor_is_the_device_by_its_name_or_by_what_it_can_do() -> None:
    small, server = load_profile("intel-n100"), load_profile("x86-avx512-server")
    assert small.is_device("x86_64", cpu="Intel(R) N100")
    assert not small.is_device("x86_64", cpu="AMD EPYC")
    assert not small.is_device("x86_64")
    assert server.is_device("x86_64", cpu="any", cpu_flags=("avx2", "avx512f"))
    assert not server.is_device("x86_64", cpu="any", cpu_flags=("avx2",))
    assert not server.is_device("x86_64", cpu="any")


def test_a_device_that_lies_elsewhere_needs_a_target(elsewhere: Path) -> None:
    here, there = (
        f'{MINIMAL.replace("aarch64", arch)}[measure]\nreach = "ssh"' for arch in (os.uname().machine, "mips")
    )
    assert not load_profile(written(elsewhere, here)).needs_target
    assert load_profile(written(elsewhere, there)).needs_target
    assert not load_profile(written(elsewhere, MINIMAL.replace("aarch64", "mips"))).needs_target


def test_the_digest_follows_the_content(elsewhere: Path) -> None:
    first = load_profile(written(elsewhere, MINIMAL))
    assert load_profile(written(elsewhere, "# a comment\n" + MINIMAL)).digest() == first.digest()
    assert load_profile(written(elsewhere, MINIMAL.replace("some", "other"))).digest() != first.digest()


def test_profiles_do_not_change_after_loading() -> None:
    profile = load_profile("x86")
    with pytest.raises(ValueError, match="frozen"):
        profile.name = "other"
    assert isinstance(profile, Profile)
