"""Which precision a run may ship in: what was asked for, what the device has, what there is to calibrate on."""

from __future__ import annotations

from deploycompress.errors import UsageError
from deploycompress.precision import Precision
from deploycompress.profile import Profile

AUTO = "auto"
PROCESSOR = "CPUExecutionProvider"


def read_precision(asked: str | None, profile: Profile, *, is_calibrated: bool) -> Precision | None:
    """Say which precision a run shall ship in, before anything is loaded.

    Args:
        asked: `fp32`, `fp16`, `int8` or `auto`; none for the profile's default.
        profile: the device.
        is_calibrated: whether there are images, real ones or synthesised ones that were asked for.

    Returns:
        The precision; none where it is to be measured which of the device's is fastest.

    Raises:
        UsageError: there is no such precision, the device cannot run it, or nothing to calibrate it on.
    """
    name = asked or profile.precision.default
    if name == AUTO and (is_calibrated or set(profile.precision.native) != {Precision.INT8}):
        return None
    name = Precision.INT8 if name == AUTO else name
    try:
        precision = Precision(name)
    except ValueError as error:
        raise UsageError(f"There is no precision {name!r}; known are {', '.join(Precision)} and {AUTO}.") from error
    if precision not in profile.precision.native and profile.runtime.providers[0] != PROCESSOR:
        native = ", ".join(profile.precision.native)
        raise UsageError(
            f"Profile {profile.name!r} does not run {precision}: its {profile.runtime.providers[0]} computes in "
            f"{native} there. Ask for one of these with --precision, or correct 'native' in the profile's [precision]."
        )
    if precision is Precision.INT8 and not is_calibrated:
        raise UsageError(
            "int8 needs images to find the ranges of activations on, and none were given; give training images with "
            "--data, ask for synthesised ones with --set quantization.synthesizes=true, or ship --precision fp32."
        )
    return precision


def native_warning(precision: Precision, profile: Profile) -> str:
    """Say that a precision runs through conversions on a device; nothing where it is the device's own."""
    if precision in profile.precision.native:
        return ""
    native = ", ".join(profile.precision.native)
    return (
        f"{precision} is not native to profile {profile.name!r} ({native}): ONNX Runtime converts on the way, so "
        "expect a smaller file and no speed."
    )
