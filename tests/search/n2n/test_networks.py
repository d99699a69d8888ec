"""The policies are the paper's networks: torch's own modules give the same numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deploycompress.search.n2n import removal, shrinkage
from deploycompress.search.n2n.features import decisions, layer_features
from deploycompress.search.n2n.networks import ACTIONS, REMOVAL, SHRINKAGE, Architecture, hidden_states, initial
from deploycompress.search.n2n.weights import from_text, one_thread, to_text
from deploycompress.search.space import snap
from tests.search.toy import make_space


def _weights(architecture: Architecture, seed: int = 0, *, with_critic: bool = False) -> dict[str, Tensor]:
    return initial(architecture, np.random.default_rng(seed), with_critic=with_critic)


def test_sizes_are_the_papers() -> None:
    assert (REMOVAL.depth, REMOVAL.hidden, REMOVAL.is_bidirectional) == (2, 30, True)
    assert (SHRINKAGE.depth, SHRINKAGE.hidden, SHRINKAGE.is_bidirectional) == (2, 50, False)
    assert ACTIONS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def test_hidden_states_are_those_of_torchs_module() -> None:
    for architecture in (REMOVAL, SHRINKAGE):
        weights = _weights(architecture)
        with torch.random.fork_rng():
            module = torch.nn.LSTM(
                architecture.inputs,
                architecture.hidden,
                2,
                bidirectional=architecture.is_bidirectional,
                batch_first=True,
            )
        for target, name in zip(module.parameters(), architecture.cells, strict=True):
            target.data.copy_(weights[name])
        inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 7, architecture.inputs)).astype(np.float32))
        torch.testing.assert_close(hidden_states(architecture, weights, inputs)[0], module(inputs)[0])


def test_a_block_stays_by_the_mean_of_its_layers_logits() -> None:
    space, weights = make_space(), _weights(REMOVAL)
    read, _ = hidden_states(REMOVAL, weights, torch.tensor([layer_features(space)]))
    logits = (read[0] @ weights["policy.weight"].T + weights["policy.bias"])[:, 0]
    wanted = [float(logits[list(block.layers)].mean()) for block in space.removals]
    np.testing.assert_allclose(removal.keep_logits(weights, space), wanted, rtol=1e-5)
    probabilities = np.asarray(removal.keep_probabilities(weights, space))
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-np.asarray(wanted))), rtol=1e-5)


def test_probabilities_of_all_actions_sum_to_one() -> None:
    space = make_space()
    asked = decisions(space, frozenset())
    for table, weights in (
        (removal.tables(space), _weights(REMOVAL)),
        (shrinkage.tables(space, asked), _weights(SHRINKAGE)),
    ):
        found, values = table(weights, torch.zeros((3, 6), dtype=torch.int64))
        torch.testing.assert_close(found.exp().sum(2), torch.ones(3, 6))
        assert values is None


def test_sampling_step_by_step_follows_the_table_of_the_whole_sequence() -> None:
    space = make_space(3)
    asked, weights = decisions(space, frozenset()), _weights(SHRINKAGE, 4)
    actions = shrinkage.drawn(weights, space, asked, 4000, np.random.default_rng(0))
    table, _ = shrinkage.tables(space, asked)(weights, torch.from_numpy(actions))
    for step in range(3):
        expected = table[:, step].exp().mean(0).numpy()  # over the contexts that were drawn
        observed = np.bincount(actions[:, step], minlength=10) / 4000
        np.testing.assert_allclose(observed, expected, atol=0.03)


def test_the_previous_action_matters() -> None:
    space = make_space(3)
    asked, weights = decisions(space, frozenset()), _weights(SHRINKAGE)
    actions = torch.tensor([[0, 5, 5], [9, 5, 5]])
    table, _ = shrinkage.tables(space, asked)(weights, actions)
    torch.testing.assert_close(table[0, 0], table[1, 0])
    assert not torch.allclose(table[0, 1], table[1, 1])


def test_an_action_becomes_the_nearest_allowed_size() -> None:
    (decision, *_) = decisions(make_space(), frozenset())
    assert [shrinkage.size_of(decision, action) for action in range(10)] == [
        snap(share * 64, (16, 32, 48, 64)) for share in ACTIONS
    ]


def test_tensors_survive_as_text_and_torchs_generator_and_threads_are_left_alone() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with one_thread():
        weights = _weights(REMOVAL, with_critic=True)
        assert torch.get_num_threads() == 1
    back = from_text(to_text(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
