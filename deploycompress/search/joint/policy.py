"""The policy: an order in which things go, one step at a time until the limit is met.

A step is chosen by a softmax over all steps that are possible. What a block is worth to the policy is the keep logit of
N2N's recurrent removal policy (section 3.2.1) with its sign turned; groups and kernels have a logit of their own each,
RL-Pruner's distribution of sparsity. The measured sensitivities are added to both, divided by what the step saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deploycompress.constraint import Constraint
from deploycompress.search.costs import Correction, excess, fits
from deploycompress.search.joint.choices import Choices, Vector
from deploycompress.search.moves import applied, moves
from deploycompress.search.n2n.networks import REMOVAL, initial
from deploycompress.search.n2n.reinforce import Tables
from deploycompress.search.n2n.removal import tables as removal_tables
from deploycompress.search.n2n.weights import Weights
from deploycompress.search.space import Candidate

OTHERS = "choices.logits"
IMPOSSIBLE = -1e9
LEAST_SHARE = 0.02  # of the largest saving: what is foreseen to save less is noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a rollout is to meet.

    Attributes:
        choices: what may go.
        rows: limits, as the forecast is to meet them.
        correction: of the forecast.
    """

    choices: Choices
    rows: tuple[Constraint, ...]
    correction: Correction

    def fits(self, candidate: Candidate) -> bool:
        """Foresee whether a candidate meets the limits."""
        return fits(self.choices.space, candidate, self.rows, self.correction)

    def excess(self, candidate: Candidate) -> float:
        """Foresee by how much a candidate breaks the limits."""
        return excess(self.choices.space, candidate, self.rows, self.correction)

    def savings(self) -> Vector:
        """Foresee what every choice saves alone of the excess for all of what it can take, shape [P]; never zero."""
        space, whole = self.choices.space, self.excess(Candidate())
        ends = [space.candidate(remove=[removal.block]) for removal in space.removals]
        ends += [space.candidate(widths={one.group: one.widths[0]}) for one in space.free]
        ends += [space.candidate(kernels={one.layer: one.sizes[0]}) for one in space.kernels]
        saved = np.array([whole - self.excess(end) for end in ends])
        least = LEAST_SHARE * max(float(saved.max(initial=0.0)), 1e-9)
        return np.asarray(np.maximum(saved, least))


def first_weights(choices: Choices, rng: np.random.Generator) -> dict[str, Tensor]:
    """Draw an untrained policy; it prefers nothing but what its random network happens to."""
    others = len(choices) - len(choices.space.removals)
    return {**initial(REMOVAL, rng, with_critic=False), OTHERS: torch.zeros(others)}


def logits(weights: Weights, choices: Choices) -> Tensor:
    """Give every choice's logit for going, shape [P]."""
    none = torch.zeros((1, len(choices.space.removals)), dtype=torch.int64)
    if not choices.space.removals:
        return weights[OTHERS]
    table, _ = removal_tables(choices.space)(weights, none)
    return torch.cat((table[0, :, 0] - table[0, :, 1], weights[OTHERS]))


def rolled_out(
    task: Task, preference: Vector, rng: np.random.Generator, temperature: float
) -> tuple[Candidate, tuple[int, ...], tuple[float, ...]]:
    """Take steps until the limit is met.

    Args:
        task: the limit.
        preference: of every choice for going, shape [P].
        rng: advanced.
        temperature: of the choice.

    Returns:
        The candidate, the choices taken in order, and their log-probabilities.
    """
    space, candidate = task.choices.space, Candidate()
    taken: list[int] = []
    chances: list[float] = []
    while not task.fits(candidate) and (possible := moves(space, candidate)):
        numbers = [task.choices.of(move) for move in possible]
        log_chances = _log_softmax(preference[numbers] / temperature)
        picked = int(rng.choice(len(possible), p=np.exp(log_chances)))
        candidate = applied(space, candidate, possible[picked])
        taken.append(numbers[picked])
        chances.append(float(log_chances[picked]))
    return candidate, tuple(taken), tuple(chances)


def tables(
    choices: Choices, offsets: Sequence[Sequence[float]], taken: Sequence[Sequence[int]], temperature: float
) -> Tables:
    """Make the policy as `reinforce` wants it: for each rollout, the log-probabilities of all choices at each step.

    Args:
        choices: what may go.
        offsets: of each rollout, what is added to the policy's logits, shape [K, P].
        taken: of each rollout, the choices in order.
        temperature: of the choice.
    """
    longest = max(len(steps) for steps in taken)
    masks = torch.tensor(np.stack([_masks(choices, steps, longest) for steps in taken]), dtype=torch.float32)
    added = torch.tensor(np.asarray(offsets), dtype=torch.float32)

    def policy(weights: Weights, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        del actions
        raw = (logits(weights, choices).unsqueeze(0) + added).unsqueeze(1) / temperature
        return torch.log_softmax(raw + masks, dim=2), None

    return policy


def _masks(choices: Choices, taken: Sequence[int], longest: int) -> Vector:
    """Replay a rollout: zero for what was possible at each step; steps after its end allow only the first choice."""
    masks = np.full((longest, len(choices)), IMPOSSIBLE)
    candidate = Candidate()
    for step in range(longest):
        if step >= len(taken):
            masks[step, 0] = 0.0
            continue
        possible = {choices.of(move): move for move in moves(choices.space, candidate)}
        masks[step, list(possible)] = 0.0
        candidate = applied(choices.space, candidate, possible[taken[step]])
    return masks


def _log_softmax(values: Vector) -> Vector:
    shifted = values - values.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
