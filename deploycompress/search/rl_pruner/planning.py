"""How a search is laid out over the evaluations there are: the paper has 7500 of them, a search here has a hundred.

What is changed then, and why; settings with `adapts` off are used as they are:

* Pruning steps go first: students of the steps before the last break the limits, and nobody wants them.
* Stages become smaller and more: many updates of the paper's size after few samples each lead somewhere, few updates
  leave the policy where it began. (Larger updates were tried; they follow the first lucky action too far.)
* The noise falls from stage to stage, and is smaller the more axes there are: shares are 1 / D on average, and noise
  of the paper's variance on each of thirty of them would leave nothing of the policy in the action.
* The cut follows the best action seen, the policy's own among them: after few samples the policy is an average of
  good students that need not be one itself, a block half gone and another half gone being neither.
* What rounding leaves of the limit goes back to the axes that the action takes least from: with a device's coarse
  widths that is much, and later steps that would use it there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploycompress.constraint import Constraint
from deploycompress.errors import UsageError
from deploycompress.search.rl_pruner.axes import Axis
from deploycompress.search.rl_pruner.pace import needed_sparsity
from deploycompress.search.rl_pruner.settings import RlPrunerSettings, merge_steps, scale_to
from deploycompress.search.schedules import Decay
from deploycompress.search.space import Space

FEW_SAMPLES = 3
FEW_NOISE = 0.25  # variance on a share, times the number of axes
EVALUATIONS_PER_FORESEEN_STEP = 300
EVALUATIONS_PER_STEP = 20  # where the table is silent: the limit is approached in steps that are measured


def planned(
    settings: RlPrunerSettings,
    space: Space,
    axes: Sequence[Axis],
    constraints: Sequence[Constraint],
    evaluations: int,
) -> RlPrunerSettings:
    """Lay a search out.

    Args:
        settings: as chosen.
        space: holds the table of savings.
        axes: what may go.
        constraints: the limits.
        evaluations: how many there will be at most.

    Raises:
        UsageError: fewer than two evaluations.
    """
    if evaluations < 2:
        raise UsageError(f"A search needs at least 2 evaluations, one sample and one cut; got {evaluations}.")
    sparsity = needed_sparsity(space, axes, constraints)
    if sparsity is not None:
        settings = replace(settings, step_sparsity=min(max(sparsity / settings.steps, 1e-3), 1.0))
    if not settings.adapts or settings.evaluations <= evaluations:
        return settings
    if sparsity is None:
        total = settings.steps * settings.step_sparsity
        steps = min(settings.steps, max(1, evaluations // EVALUATIONS_PER_STEP))
        settings = replace(settings, steps=steps, step_sparsity=min(total / steps, 1.0))
        return _focused(scale_to(merge_steps(settings, space), evaluations), len(axes))
    return _focused(_fewer_steps(merge_steps(settings, space), evaluations), len(axes))


def _focused(settings: RlPrunerSettings, axes: int) -> RlPrunerSettings:
    variance = min(settings.noise_variance, FEW_NOISE / max(axes, 1))
    return replace(settings, noise_variance=variance, noise_decay=Decay.COSINE, cuts_best=True, fills_limit=True)


def _fewer_steps(settings: RlPrunerSettings, evaluations: int) -> RlPrunerSettings:
    total = settings.steps * settings.step_sparsity
    steps = min(settings.steps, max(1, evaluations // EVALUATIONS_PER_FORESEEN_STEP))
    each = evaluations // steps - 1
    samples = min(settings.samples, FEW_SAMPLES, each)
    depth = settings.sample_steps if _tree(samples, settings.sample_steps) <= each else 1
    return replace(
        settings,
        steps=steps,
        step_sparsity=min(total / steps, 1.0),
        stages=each // _tree(samples, depth),
        samples=samples,
        sample_steps=depth,
    )


def _tree(samples: int, depth: int) -> int:
    return sum(samples**level for level in range(1, depth + 1))
