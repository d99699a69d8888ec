"""Which channels stay under a plan, and whether the plan fits the graph at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploycompress.channels.records import ChannelGroup, Channels
from deploycompress.errors import PlanError
from deploycompress.plan import Plan
from deploycompress.surgery.nearest import nearest

Mask = NDArray[np.bool_]


def kept_channels(channels: Channels, plan: Plan) -> Mask:
    """Mark the channels that stay.

    Returns:
        Truth value by channel number, shape [count + 1]; number 0 always stays.

    Raises:
        PlanError: the plan names a group the graph does not have or that must stay, or a channel it does not have.
    """
    kept = np.ones(channels.count + 1, dtype=np.bool_)
    positions = {group.name: index for index, group in enumerate(channels.groups)}
    for name, indices in plan.keep.items():
        if name not in positions:
            hint = nearest(name, positions)
            gone = f" once {', '.join(plan.remove)} is removed" if plan.remove else ""
            raise PlanError(
                f"The plan cuts group {name!r}, which this model does not have{gone}{hint}. Make the plan from it."
            )
        _check(channels.groups[positions[name]], indices)
        members = channels.members_of(positions[name])
        kept[members] = False
        kept[members[list(indices)]] = True
    return kept


def _check(group: ChannelGroup, indices: tuple[int, ...]) -> None:
    if indices[-1] >= group.width:
        raise PlanError(
            f"Group {group.name!r} has {group.width} channels but the plan keeps index {indices[-1]}; "
            "make the plan from this model."
        )
    if group.frozen and len(indices) < group.width:
        raise PlanError(f"Group {group.name!r} must keep all of its channels ({group.why}); the plan cuts it.")
