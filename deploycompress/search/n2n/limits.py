"""Brings rollouts to the limit by the table of savings, in the order the policy prefers.

Conditioning a policy on the limit: what it decided counts, and what is over or under gives or returns in the order of
its own preference. Without it most rollouts of an untrained policy break the limit, and a student that does teaches
little more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deploycompress.constraint import Constraint
from deploycompress.search import costs
from deploycompress.search.costs import Correction
from deploycompress.search.moves import smallest
from deploycompress.search.n2n.features import Decision, decisions
from deploycompress.search.n2n.networks import ACTIONS
from deploycompress.search.n2n.shrinkage import size_of
from deploycompress.search.space import Candidate, Space, snap

SHARES = tuple(share / 40 for share in range(40, 0, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The rows that a table foresees.

    Attributes:
        space: with the table.
        rows: constraints; none of them foreseen makes every candidate fit.
        correction: of the forecast.
    """

    space: Space
    rows: tuple[Constraint, ...]
    correction: Correction = field(default_factory=dict)

    @property
    def says_something(self) -> bool:
        """Whether the table foresees the teacher to break the limit, and the smallest student to meet it."""
        return not self.fits(Candidate()) and self.fits(smallest(self.space))

    def fits(self, candidate: Candidate) -> bool:
        """Foresee whether a candidate meets the limit."""
        return costs.fits(self.space, candidate, self.rows, self.correction)

    def foreseen_rows(self) -> tuple[Constraint, ...]:
        """List the rows whose metrics are all in the table."""
        return tuple(row for row in self.rows if row.metrics <= self.space.teacher.keys())


def limited_removal(limit: Limit, scores: Sequence[float]) -> tuple[str, ...]:
    """Choose the blocks that go.

    Args:
        limit: what must be met, if need be with the narrowest widths.
        scores: how much each block wants to stay, one for each of the space's removals; those below 0 want to go.

    Returns:
        Names of the blocks; none more than needed, and enough for widths to bring the rest.
    """
    space = limit.space
    order = sorted(range(len(scores)), key=lambda index: scores[index])
    going = [space.removals[index].block for index in order if scores[index] < 0]
    staying = [space.removals[index].block for index in order if scores[index] >= 0]
    if not limit.says_something:
        return tuple(going)
    while staying and not limit.fits(_narrowest(space, going)):
        going.append(staying.pop(0))
    for block in reversed(tuple(going)):
        others = [other for other in going if other != block]
        if limit.fits(space.candidate(remove=others)):
            going = others
    return tuple(going)


def evenly_narrowed(limit: Limit, remove: Sequence[str], generator: np.random.Generator) -> Candidate:
    """Complete a removal to a student that meets the limit: all widths give the same share, then some return.

    Args:
        limit: to be met; where it says nothing, no width changes.
        remove: blocks that go.
        generator: draws who returns first.
    """
    space = limit.space
    candidate = space.candidate(remove=remove)
    if not limit.says_something:
        return candidate
    asked = decisions(space, space.gone(remove))
    for share in SHARES:
        sizes = [snap(share * one.sizes[-1], one.sizes) for one in asked]
        if limit.fits(candidate := sized(space, remove, asked, sizes)):
            return _returned(limit, remove, asked, sizes, generator)
    return candidate


def limited_actions(
    limit: Limit,
    remove: Sequence[str],
    asked: Sequence[Decision],
    actions: Sequence[int],
    preference: np.ndarray,
) -> tuple[int, ...]:
    """Change actions one size at a time until the student is foreseen to meet the limit, and no size could return.

    Args:
        limit: to be met.
        remove: blocks that go.
        asked: what is decided, D of them.
        actions: indices into `ACTIONS`, shape [D].
        preference: the policy's for every action, noise included, shape [D, A].
    """
    chosen = list(actions)

    def fits(trial: Sequence[int]) -> bool:
        sizes = [size_of(one, action) for one, action in zip(asked, trial, strict=True)]
        return limit.fits(sized(limit.space, remove, asked, sizes))

    if not limit.says_something:
        return tuple(chosen)
    while not fits(chosen) and (steps := _steps(asked, chosen, preference, -1)):
        _, index, action = max(steps)
        chosen[index] = action
    while steps := [step for step in _steps(asked, chosen, preference, 1) if fits(_with(chosen, step))]:
        chosen = _with(chosen, max(steps))
    return tuple(chosen)


def sized(space: Space, remove: Sequence[str], asked: Sequence[Decision], sizes: Sequence[int]) -> Candidate:
    """Make a candidate of decisions and the sizes decided."""
    pairs = list(zip(asked, sizes, strict=True))
    return space.candidate(
        remove=remove,
        widths={one.name: size for one, size in pairs if not one.is_kernel},
        kernels={one.name: size for one, size in pairs if one.is_kernel},
    )


def shortfall(limit: Limit, saved: Mapping[str, float], part: float) -> float:
    """Say by how much an expected saving misses a part of what must be saved, in the row that misses most.

    Args:
        limit: the rows.
        saved: expected saving by metric.
        part: of what must be saved, in [0, 1].

    Returns:
        Relative to the row's bound; 0 or less when enough is saved.
    """
    teacher = limit.space.teacher
    left = {name: value - limit.correction.get(name, 1.0) * saved.get(name, 0.0) for name, value in teacher.items()}
    misses = []
    for row in limit.foreseen_rows():
        whole = row.value(teacher)
        if whole > row.bound:
            aim = whole - part * (whole - row.bound)
            misses.append((row.value(left) - aim) / max(abs(row.bound), 1e-12))
    return max(misses, default=0.0)


def _narrowest(space: Space, remove: Sequence[str]) -> Candidate:
    asked = decisions(space, space.gone(remove))
    return sized(space, remove, asked, [one.sizes[0] for one in asked])


def _returned(
    limit: Limit,
    remove: Sequence[str],
    asked: Sequence[Decision],
    sizes: Sequence[int],
    generator: np.random.Generator,
) -> Candidate:
    chosen = list(sizes)
    for index in generator.permutation(len(asked)):
        larger = [size for size in asked[index].sizes if size > chosen[index]]
        if larger and limit.fits(sized(limit.space, remove, asked, _with(chosen, (0.0, index, larger[0])))):
            chosen[index] = larger[0]
    return sized(limit.space, remove, asked, chosen)


def _steps(
    asked: Sequence[Decision], chosen: Sequence[int], preference: np.ndarray, sign: int
) -> list[tuple[float, int, int]]:
    """List steps to the next action that means another size, with how much the policy prefers each."""
    steps = []
    for index, (one, action) in enumerate(zip(asked, chosen, strict=True)):
        size = size_of(one, action)
        others = range(action + sign, len(ACTIONS) if sign > 0 else -1, sign)
        other = next((other for other in others if size_of(one, other) != size), None)
        if other is not None:
            steps.append((float(preference[index, other] - preference[index, action]), index, other))
    return steps


def _with(chosen: Sequence[int], step: tuple[float, int, int]) -> list[int]:
    changed = list(chosen)
    changed[step[1]] = step[2]
    return changed
