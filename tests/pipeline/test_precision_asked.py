"""Which precision a run ships in is settled before anything is loaded, and never by guessing."""

from __future__ import annotations

import pytest

from deploycompress.errors import UsageError
from deploycompress.pipeline.precision_asked import native_warning, read_precision
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile


@pytest.fixture
def x86() -> Profile:
    return load_profile("x86")


@pytest.fixture
def nano() -> Profile:
    return load_profile("jetson-nano")


def _with_default(profile: Profile, default: str, native: tuple[str, ...]) -> Profile:
    record = profile.model_dump(by_alias=True)
    record["precision"] |= {"default": default, "native": native}
    return Profile.model_validate(record)


def test_what_is_asked_for_counts_before_the_profile(x86: Profile) -> None:
    profile = _with_default(x86, "int8", ("fp32", "int8"))
    assert read_precision(None, profile, is_calibrated=True) is Precision.INT8
    assert read_precision("fp32", profile, is_calibrated=True) is Precision.FP32


def test_auto_leaves_it_open(x86: Profile) -> None:
    assert read_precision("auto", x86, is_calibrated=False) is None
    assert read_precision(None, _with_default(x86, "auto", ("fp32",)), is_calibrated=True) is None


def test_an_unknown_precision_is_refused_by_name(x86: Profile) -> None:
    with pytest.raises(UsageError, match=r"'int4'.*fp32, fp16, int8 and auto"):
        read_precision("int4", x86, is_calibrated=True)


def test_int8_without_images_says_what_to_give(x86: Profile) -> None:
    with pytest.raises(UsageError, match=r"--data.*quantization\.synthesizes=true"):
        read_precision("int8", x86, is_calibrated=False)
    assert read_precision("fp16", x86, is_calibrated=False) is Precision.FP16


def test_an_accelerator_without_int8_refuses_it(nano: Profile) -> None:
    assert "int8" not in nano.precision.native
    assert nano.runtime.providers[0] != "CPUExecutionProvider"
    with pytest.raises(UsageError, match=r"jetson-nano.*does not run int8.*fp32, fp16"):
        read_precision("int8", nano, is_calibrated=True)


def test_a_processor_converts_and_says_so(x86: Profile) -> None:
    assert "fp16" not in x86.precision.native
    assert read_precision("fp16", x86, is_calibrated=False) is Precision.FP16
    assert "fp16 is not native" in native_warning(Precision.FP16, x86)
    assert native_warning(Precision.INT8, x86) == ""


def test_auto_without_images_on_a_device_of_int8_alone_says_what_to_give(x86: Profile) -> None:
    only = _with_default(x86, "int8", ("int8",))
    assert read_precision("auto", only, is_calibrated=True) is None
    with pytest.raises(UsageError, match="--data"):
        read_precision("auto", only, is_calibrated=False)
