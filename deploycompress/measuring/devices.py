"""Where a run measures: one device, or several equal ones that share the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploycompress.measuring.meter import Meter
from deploycompress.measuring.pool import Pool
from deploycompress.measuring.reach.target import LOCAL, parse_target
from deploycompress.profile import Profile

Devices = Meter | Pool


def open_devices(profile: Profile, targets: Sequence[str], on_lost: Callable[[str], None]) -> Devices:
    """Make what measures for a run; nothing is reached before the first model.

    Args:
        profile: the target device.
        targets: ways to its boards, as `parse_target` reads them; none for this machine.
        on_lost: told of each board of several that is lost.

    Raises:
        UsageError: a text is no target, or one stands there twice.
    """
    boards = [parse_target(text) for text in targets] or [LOCAL]
    return Meter(profile, target=boards[0]) if len(boards) == 1 else Pool(profile, boards, on_lost=on_lost)
