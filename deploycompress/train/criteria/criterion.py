"""The names of the criteria that say how much a channel is worth."""

from __future__ import annotations

from enum import StrEnum


class Criterion(StrEnum):
    """How the worth of a channel is judged; each is explained where it is computed."""

    TAYLOR = "taylor"
    TAYLOR_BATCH = "taylor-batch"
    MAGNITUDE = "magnitude"
    NORM_SCALE = "norm-scale"
    ACTIVATION = "activation"
    RECONSTRUCTION = "reconstruction"
