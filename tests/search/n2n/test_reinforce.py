"""The gradient is eq. 2 of the paper, the optimiser is Adam, and every tensor learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from deploycompress.search.n2n import removal, shrinkage
from deploycompress.search.n2n.features import decisions
from deploycompress.search.n2n.networks import REMOVAL, SHRINKAGE, initial
from deploycompress.search.n2n.reinforce import Batch, Learning, Moments, Tables, loss_of, moving_average, reinforced
from deploycompress.search.n2n.weights import Weights
from tests.search.toy import make_space

SPACE = make_space()
REWARDS = (0.3, -1.0, 0.8, 0.5, 0.1)
BASELINE = 0.2
PLAIN = Learning(rate=0.003)


def _case(stage: str, *, with_critic: bool = False) -> tuple[Tables, Weights, Batch]:
    generator = np.random.default_rng(3)
    if stage == "removal":
        policy, architecture, count = removal.tables(SPACE), REMOVAL, 2
    else:
        policy = shrinkage.tables(SPACE, decisions(SPACE, frozenset()))
        architecture, count = SHRINKAGE, 10
    weights = initial(architecture, generator, with_critic=with_critic)
    actions = torch.from_numpy(generator.integers(0, count, size=(5, 6)))
    with torch.no_grad():
        table, _ = policy(weights, actions)
    behaviour = table.gather(2, actions.unsqueeze(2)).squeeze(2)
    batch = Batch(actions=actions, behaviour=behaviour, rewards=torch.tensor(REWARDS), baseline=BASELINE)
    return policy, weights, batch


def _gradient(loss: Callable[[Weights], Tensor], weights: Weights) -> dict[str, Tensor]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))


@pytest.mark.parametrize("stage", ["removal", "shrinkage"])
def test_the_gradient_is_equation_two(stage: str) -> None:
    policy, weights, batch = _case(stage)

    def by_hand(leaves: Weights) -> Tensor:
        table, _ = policy(leaves, batch.actions)
        total = torch.zeros(())
        for rollout, reward in enumerate(REWARDS):
            for step in range(6):
                total = total + table[rollout, step, batch.actions[rollout, step]] * (reward - BASELINE)
        return -total / len(REWARDS)

    found = _gradient(lambda leaves: loss_of(policy, leaves, batch, PLAIN), weights)
    for name, wanted in _gradient(by_hand, weights).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_the_bias_agrees_with_finite_differences_of_the_expected_reward() -> None:
    """Over all rollouts with their probabilities, eq. 2 is the gradient of the expected reward itself."""
    space = make_space(3)
    policy, weights = removal.tables(space), initial(REMOVAL, np.random.default_rng(0), with_critic=False)
    every = torch.cartesian_prod(*[torch.tensor([0, 1])] * 3)
    rewards = torch.tensor([0.1, 0.9, -1.0, 0.4, 0.0, 0.7, 0.2, -0.5])

    def expected(shift: float) -> float:
        logits = np.asarray(removal.keep_logits(weights, space)) + shift
        keep = 1 / (1 + np.exp(-logits))
        shares = np.where(every.numpy() == 1, keep, 1 - keep).prod(axis=1)
        return float(shares @ rewards.numpy())

    with torch.no_grad():
        behaviour = policy(weights, every)[0].gather(2, every.unsqueeze(2)).squeeze(2)
    weighed = rewards * behaviour.sum(1).exp() * len(rewards)  # the mean over rollouts becomes the expectation
    batch = Batch(actions=every, behaviour=behaviour, rewards=weighed, baseline=0.0)
    found = _gradient(lambda leaves: loss_of(policy, leaves, batch, PLAIN), weights)["policy.bias"]
    assert -float(found) == pytest.approx((expected(1e-4) - expected(-1e-4)) / 2e-4, rel=1e-3)


@pytest.mark.parametrize("with_critic", [False, True])
@pytest.mark.parametrize("stage", ["removal", "shrinkage"])
def test_every_tensor_moves(stage: str, with_critic: bool) -> None:
    policy, weights, batch = _case(stage, with_critic=with_critic)
    learnt, _ = reinforced(policy, weights, Moments(), batch, PLAIN)
    assert len(learnt) == (18 if stage == "removal" else 10) + 2 * with_critic
    still = [name for name in weights if torch.equal(weights[name], learnt[name])]
    assert still == []


def test_the_step_is_adams() -> None:
    policy, weights, batch = _case("removal")
    learnt, moments = weights, Moments()
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    adam = torch.optim.Adam(leaves.values(), lr=PLAIN.rate)
    for _ in range(3):
        learnt, moments = reinforced(policy, learnt, moments, batch, PLAIN)
        adam.zero_grad()
        loss_of(policy, leaves, batch, PLAIN).backward()  # type: ignore[no-untyped-call]  # torch's
        adam.step()
    for name, leaf in leaves.items():
        torch.testing.assert_close(learnt[name], leaf.detach(), rtol=1e-3, atol=2e-5)


def test_good_actions_become_more_likely() -> None:
    policy, weights, batch = _case("shrinkage")
    learnt, _ = reinforced(policy, weights, Moments(), batch, Learning(rate=0.003, epochs=5))
    gained = policy(learnt, batch.actions)[0].gather(2, batch.actions.unsqueeze(2)).squeeze(2) - batch.behaviour
    assert float(gained.sum(1)[2]) > 0 > float(gained.sum(1)[1])


def test_an_update_stays_within_its_trust() -> None:
    policy, weights, batch = _case("shrinkage")
    before = policy(weights, batch.actions)[0]

    def moved(trust: float) -> float:
        learnt, _ = reinforced(policy, weights, Moments(), batch, Learning(rate=0.1, epochs=4, trust=trust))
        after = policy(learnt, batch.actions)[0]
        return float((before.exp() * (before - after)).sum(-1).mean())

    assert 0 < moved(0.05) <= 0.05 < moved(0.0)


def test_the_critic_learns_to_foresee_what_the_baseline_misses() -> None:
    policy, weights, batch = _case("removal", with_critic=True)
    missed = []
    for learning in (PLAIN, Learning(rate=0.003, epochs=150)):
        learnt, _ = reinforced(policy, weights, Moments(), batch, learning)
        _, values = policy(learnt, batch.actions)
        assert values is not None
        missed.append(float((values + BASELINE - float(np.mean(REWARDS))).abs().mean()))
    assert missed[1] < 0.25 * missed[0]


def test_entropy_is_rewarded_when_asked() -> None:
    policy, weights, batch = _case("shrinkage")
    table, _ = policy(weights, batch.actions)
    wanted = -sum(float((table[k, t].exp() * table[k, t]).sum()) for k in range(5) for t in range(6)) / 5
    plain = float(loss_of(policy, weights, batch, PLAIN))
    assert plain - float(loss_of(policy, weights, batch, Learning(rate=0.003, entropy_weight=2.0))) == pytest.approx(
        2 * wanted, rel=1e-4
    )


def test_the_baseline_follows_the_rewards() -> None:
    first = moving_average(None, [0.2, 0.4], 0.8)
    assert first == pytest.approx(0.3)
    assert moving_average(first, [1.0, 0.0, 0.5], 0.8) == pytest.approx(0.8 * 0.3 + 0.2 * 0.5)
