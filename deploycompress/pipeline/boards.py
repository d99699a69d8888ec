"""Which board measures: the first of those named that answers, and that one alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from deploycompress.measuring.meter import Meter
from deploycompress.measuring.reach.failures import DeviceError
from deploycompress.measuring.reach.target import LOCAL, parse_target
from deploycompress.profile import Profile
from deploycompress.report.progress import Progress

Found = TypeVar("Found")


def on_first_board(
    profile: Profile, targets: Sequence[str], work: Callable[[Meter], Found], progress: Progress
) -> Found:
    """Do all of some work on one board; when a board is lost, begin anew on the next one.

    Numbers of two boards never meet: nothing of what a lost board measured is kept.

    Args:
        profile: the target device.
        targets: ways to boards, as `parse_target` reads them; none for this machine.
        work: what to do there.
        progress: who is told of lost boards.

    Raises:
        MeasureError: a model could not be measured, for which another board would be no better; or no board is left.
        UsageError: a text is no target.
    """
    boards = [parse_target(text) for text in targets] or [LOCAL]
    for board in boards[:-1]:
        try:
            with Meter(profile, target=board) as meter:
                return work(meter)
        except DeviceError as error:
            progress.warning(f"{error} Trying the next board.")
    with Meter(profile, target=boards[-1]) as meter:
        return work(meter)
