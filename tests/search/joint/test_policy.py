"""Rollouts against brute force over all orders of a tiny space; their gradient against a loss written by hand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from deploycompress.constraint import parse_constraint
from deploycompress.search.costs import fits
from deploycompress.search.joint.choices import number
from deploycompress.search.joint.policy import Task, first_weights, logits, rolled_out, tables
from deploycompress.search.moves import applied, moves
from deploycompress.search.n2n.reinforce import Batch, Learning, Moments, loss_of, reinforced
from deploycompress.search.n2n.weights import Weights
from deploycompress.search.space import Candidate, Dimension, Space
from tests.search.toy import make_space

TEMPERATURE = 0.5


def tiny(limit: float = 0.7) -> Task:
    """Two blocks with a group in each: what can go depends on what went."""
    space = make_space(2)
    groups = tuple(replace(one, widths=(32, 64), savings=(one.savings[1], one.savings[3])) for one in space.dimensions)
    rows = (parse_constraint(f"latency_ratio <= {limit}"),)
    return Task(choices=number(replace(space, dimensions=groups)), rows=rows, correction={})


def orders(
    task: Task, preference: np.ndarray, so_far: tuple[int, ...] = (), one: Candidate | None = None
) -> Iterator[tuple[tuple[int, ...], float, Candidate]]:
    """List all rollouts with their probabilities."""
    space, candidate = task.choices.space, one or Candidate()
    possible = moves(space, candidate)
    if fits(space, candidate, task.rows) or not possible:
        yield so_far, 1.0, candidate
        return
    strengths = [math.exp(preference[task.choices.of(move)] / TEMPERATURE) for move in possible]
    for move, strength in zip(possible, strengths, strict=True):
        longer = (*so_far, task.choices.of(move))
        for taken, chance, end in orders(task, preference, longer, applied(space, candidate, move)):
            yield taken, chance * strength / sum(strengths), end


def test_rollouts_come_as_often_as_they_should_and_say_how_likely_they_were() -> None:
    task, preference = tiny(), np.array([0.3, -0.2, 0.5, 0.0])
    known = {taken: (chance, end) for taken, chance, end in orders(task, preference)}
    assert sum(chance for chance, _ in known.values()) == pytest.approx(1)
    assert len({len(taken) for taken in known}) > 1
    rng, counted = np.random.default_rng(0), Counter[tuple[int, ...]]()
    for _ in range(4000):
        candidate, taken, behaviour = rolled_out(task, preference, rng, TEMPERATURE)
        counted[taken] += 1
        assert candidate == known[taken][1]
        assert sum(behaviour) == pytest.approx(math.log(known[taken][0]))
    for taken, (chance, _) in known.items():
        assert counted[taken] / 4000 == pytest.approx(chance, abs=4 * math.sqrt(chance / 4000))


def test_a_rollout_meets_the_limit_or_takes_all_there_is() -> None:
    rng = np.random.default_rng(0)
    for limit in (0.9, 0.75, 0.5, 0.01):
        task = tiny(limit)
        candidate, taken, _ = rolled_out(task, np.zeros(4), rng, TEMPERATURE)
        assert task.fits(candidate) or not moves(task.choices.space, candidate)
        assert taken


def test_savings_are_of_all_that_a_choice_can_give_and_never_nothing() -> None:
    task = tiny(0.01)
    np.testing.assert_allclose(task.savings() / task.savings()[0], [1, 1, 0.5, 0.5])
    empty = Task(choices=task.choices, rows=(), correction={})
    assert (empty.savings() > 0).all()


def learnt(task: Task) -> tuple[dict[str, torch.Tensor], np.random.Generator]:
    weights = first_weights(task.choices, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    weights["choices.logits"] = torch.from_numpy(rng.standard_normal(2)).float()
    return weights, rng


def test_the_gradient_is_that_of_a_loss_written_by_hand() -> None:
    task = tiny()
    weights, rng = learnt(task)
    offsets = rng.standard_normal((6, 4))
    rewards, baseline = torch.tensor([0.3, -1.0, 0.8, 0.5, 0.1, 0.9]), 0.2
    with torch.no_grad():
        now = logits(weights, task.choices).double().numpy()
    rolled = [rolled_out(task, now + offset, rng, TEMPERATURE) for offset in offsets]
    longest = max(len(taken) for _, taken, _ in rolled)
    assert min(len(taken) for _, taken, _ in rolled) < longest
    batch = Batch(
        actions=torch.tensor([[*taken, *[0] * (longest - len(taken))] for _, taken, _ in rolled]),
        behaviour=torch.tensor([[*chances, *[0.0] * (longest - len(chances))] for _, _, chances in rolled]),
        rewards=rewards,
        baseline=baseline,
    )
    policy = tables(task.choices, offsets.tolist(), [taken for _, taken, _ in rolled], TEMPERATURE)

    def by_hand(leaves: Weights) -> torch.Tensor:
        total = torch.zeros(())
        for (_, taken, _), offset, reward in zip(rolled, offsets, rewards, strict=True):
            worth = (logits(leaves, task.choices) + torch.from_numpy(offset).float()) / TEMPERATURE
            candidate = Candidate()
            for step in taken:
                possible = {task.choices.of(move): move for move in moves(task.choices.space, candidate)}
                chance = worth[step] - torch.logsumexp(worth[list(possible)], 0)
                total = total + chance * (reward - baseline)
                candidate = applied(task.choices.space, candidate, possible[step])
        return -total / len(rolled)

    def gradients(loss: Callable[[Weights], torch.Tensor]) -> dict[str, torch.Tensor]:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
        return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))

    found = gradients(lambda leaves: loss_of(policy, leaves, batch, Learning(rate=0.003)))
    for name, wanted in gradients(by_hand).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6)


def test_every_tensor_of_the_policy_learns() -> None:
    task = tiny()
    weights, rng = learnt(task)
    taken = [(0, 3), (1, 2), (2, 3, 0)]
    policy = tables(task.choices, rng.standard_normal((3, 4)).tolist(), taken, TEMPERATURE)
    actions = torch.tensor([(*one, *[0] * (3 - len(one))) for one in taken])
    with torch.no_grad():
        behaviour = policy(weights, actions)[0].gather(2, actions.unsqueeze(2)).squeeze(2)
    batch = Batch(actions=actions, behaviour=behaviour, rewards=torch.tensor([0.1, 0.9, 0.4]), baseline=0.5)
    moved, _ = reinforced(policy, weights, Moments(), batch, Learning(rate=0.01, epochs=2))
    for name, tensor in moved.items():
        assert not torch.equal(tensor, weights[name]), name


@pytest.mark.parametrize(
    "space",
    [replace(make_space(2), removals=()), replace(make_space(2), dimensions=())],
    ids=["without blocks", "without groups"],
)
def test_a_space_of_one_kind_of_choice_teaches(space: Space) -> None:
    choices = number(space)
    weights = first_weights(choices, np.random.default_rng(0))
    assert logits(weights, choices).shape == (2,)
    policy = tables(choices, [[0.0, 0.0], [0.0, 0.0]], [(0,), (1,)], TEMPERATURE)
    actions, behaviour = torch.tensor([[0], [1]]), torch.full((2, 1), math.log(0.5))
    batch = Batch(actions=actions, behaviour=behaviour, rewards=torch.tensor([1.0, 0.0]), baseline=0.5)
    moved, _ = reinforced(policy, weights, Moments(), batch, Learning(rate=0.05, epochs=20, clip=10.0))
    before, after = logits(weights, choices), logits(moved, choices)
    assert after[0] - after[1] > before[0] - before[1]


def test_a_block_in_no_layer_of_the_space_has_a_logit() -> None:
    space = replace(make_space(2), dimensions=(Dimension(group="g", width=8, widths=(4, 8)),))
    choices = number(space)
    assert bool(logits(first_weights(choices, np.random.default_rng(0)), choices).isfinite().all())
