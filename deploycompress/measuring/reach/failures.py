"""What can be wrong with a device, apart from any model."""

from __future__ import annotations

from deploycompress.errors import MeasureError


class DeviceError(MeasureError):
    """This device is no use now; another may be."""


class UnreachableError(DeviceError):
    """The agent cannot be started there, or the device is gone."""


class BusyDeviceError(DeviceError):
    """Somebody else measures there."""


class UnfitDeviceError(DeviceError):
    """The device lacks what the profile asks for, or has no room."""


class UnsoundReplyError(DeviceError):
    """What the device answers cannot be true, or is no answer."""
