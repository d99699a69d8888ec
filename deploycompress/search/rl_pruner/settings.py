"""The numbers of RL-Pruner, with the paper's values (section 4.1) where it gives one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from deploycompress.errors import UsageError
from deploycompress.search.schedules import Decay
from deploycompress.search.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class RlPrunerSettings:
    """How RL-Pruner searches.

    Attributes:
        steps: pruning steps, each a round of sampling and one cut; 75 in the paper's analysis.
        step_sparsity: share of all channels removed per step where the table of savings foresees no limit.
        stages: sampling stages per step; the policy is updated after each.
        samples: actions sampled per state, N_S.
        sample_steps: depth of the sampled trajectories, T; a stage costs N_S + ... + N_S^T evaluations.
        noise_variance: variance v of the Gaussian noise on the policy.
        step_size: lambda of the policy update.
        discount: gamma of the Q-values.
        clip_ratio: delta, the largest relative change of an entry of the policy before it is normalised.
        exploration: initial probability of following a random action of the buffer instead of the best.
        exploration_decay: how that falls.
        exploration_share: share of the steps after which it is zero.
        buffer_size: actions the replay buffer holds; the paper does not say, this is its N_S.
        stop_when_met: end as soon as a distilled student meets all constraints instead of taking every step.
        removes_blocks: whether a layer whose sparsity reaches one takes its removable block with it.
        noise_decay: how the variance falls from stage to stage of a step; constant in the paper.
        cuts_best: cut by the best action of the step instead of by the policy.
        fills_limit: give back what the last step's rounding left of a limit that the table foresees.
        adapts: lay the search out anew where there are fewer evaluations than it would take (see `planning`).
    """

    steps: int = 75
    step_sparsity: float = 0.01
    stages: int = 10
    samples: int = 10
    sample_steps: int = 1
    noise_variance: float = 0.04
    step_size: float = 0.1
    discount: float = 0.9
    clip_ratio: float = 0.2
    exploration: float = 0.4
    exploration_decay: Decay = Decay.COSINE
    exploration_share: float = 0.1
    buffer_size: int = 10
    stop_when_met: bool = False
    removes_blocks: bool = True
    noise_decay: Decay = Decay.CONSTANT
    cuts_best: bool = False
    fills_limit: bool = False
    adapts: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "stages", "samples", "sample_steps", "buffer_size"):
            _require(name, getattr(self, name), lambda value: value >= 1, "at least 1")
        _require("step_sparsity", self.step_sparsity, lambda value: 0 < value <= 1, "in (0, 1]")
        _require("clip_ratio", self.clip_ratio, lambda value: 0 < value < 1, "in (0, 1)")
        for name in ("noise_variance", "step_size"):
            _require(name, getattr(self, name), lambda value: value > 0, "above 0")
        for name in ("discount", "exploration", "exploration_share"):
            _require(name, getattr(self, name), lambda value: 0 <= value <= 1, "in [0, 1]")

    @property
    def tree_size(self) -> int:
        """Number of sampled students per stage."""
        return sum(self.samples**level for level in range(1, self.sample_steps + 1))

    @property
    def evaluations(self) -> int:
        """Evaluations of a whole search, distilled students included, if no two samples are the same plan."""
        return self.steps * (self.stages * self.tree_size + 1)


def scale_to(settings: RlPrunerSettings, evaluations: int) -> RlPrunerSettings:
    """Shrink a search until it costs no more than some evaluations.

    Steps, stages and samples shrink together, whichever is largest relative to what it was; fewer steps remove more
    each, so that the sparsity aimed at stays. The smallest search costs two evaluations.

    Raises:
        UsageError: fewer than two evaluations.
    """
    if evaluations < 2:
        raise UsageError(f"A search needs at least 2 evaluations, one sample and one cut; got {evaluations}.")
    scaled = settings
    while scaled.evaluations > evaluations:
        shares = {
            name: getattr(scaled, name) / getattr(settings, name)
            for name in ("samples", "stages", "steps", "sample_steps")
            if getattr(scaled, name) > 1
        }
        name = max(shares, key=lambda key: shares[key])
        scaled = replace(scaled, **{name: getattr(scaled, name) - 1})
    total = settings.steps * settings.step_sparsity
    return replace(scaled, step_sparsity=min(total / scaled.steps, 1.0))


def merge_steps(settings: RlPrunerSettings, space: Space, *, quanta: float = 2.0) -> RlPrunerSettings:
    """Take fewer, larger steps where a step would be too small to show in the widths that a device likes.

    When a step removes less than the gap between allowed widths, most samples round to few plans or to none, and the
    policy learns which width is next to a threshold instead of which layer is sensitive.

    Args:
        settings: as chosen; the sparsity aimed at stays.
        space: what may be cut.
        quanta: least number of the widest gaps that a step shall remove.
    """
    gaps = [wide - narrow for d in space.free for narrow, wide in pairwise(d.widths)]
    channels = sum(dimension.width for dimension in space.free)
    if not gaps or settings.step_sparsity * channels >= quanta * max(gaps):
        return settings
    total = settings.steps * settings.step_sparsity
    steps = max(1, min(settings.steps, int(total * channels / (quanta * max(gaps)))))
    return replace(settings, steps=steps, step_sparsity=min(total / steps, 1.0))


def _require(name: str, value: float, holds: Callable[[float], bool], expected: str) -> None:
    if not (math.isfinite(value) and holds(value)):
        raise UsageError(f"RL-Pruner setting {name!r} is {value}; it must be {expected}.")
