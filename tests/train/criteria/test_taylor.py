"""Taylor scores are those of samples taken one by one, through the gradients of the reading weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deploycompress.network.module import to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.masked import masked
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.criteria.weights import trained_weights
from deploycompress.train.losses import Outputs
from tests.build import residual_net
from tests.train.criteria.networks import NETWORKS, Network, network, read_products, scores, some_batches


@pytest.mark.parametrize("kind", NETWORKS)
def test_scores_are_those_of_samples_taken_one_by_one(kind: str) -> None:
    net = network(NETWORKS[kind]())
    batches = some_batches()
    expected, count = np.zeros(net.channels.count + 1), 0
    for images, labels in batches:
        assert labels is not None
        for image, label in zip(images, labels, strict=True):
            net.module.zero_grad()
            F.cross_entropy(net.module(image[None]), label[None]).backward()  # type: ignore[no-untyped-call]
            expected += np.abs(read_products(net, _slopes(net)))
            count += 1
    found = scores(net, Criterion.TAYLOR, batches)
    np.testing.assert_allclose(found, expected / count, rtol=1e-3, atol=1e-7)
    assert found[0] == 0
    assert (found[1:] > 0).any()


def test_a_score_foretells_what_a_slightly_weaker_channel_changes() -> None:
    graph, share = residual_net(), 1e-5
    net = network(graph)
    images, labels = some_batches(1, 1)[0]
    assert labels is not None
    found = scores(net, Criterion.TAYLOR, [(images, labels)])
    stream = next(group for group in net.channels.free_groups if group.name == "conv0")
    members = net.channels.members_of(net.channels.groups.index(stream))
    for index in range(stream.width):
        without = masked(graph, Plan(keep={stream.name: tuple(set(range(stream.width)) - {index})})).weights
        whole, weaker = to_torch(graph).double(), to_torch(graph).double()
        with torch.no_grad():
            for name, weight in trained_weights(weaker).items():
                weight.sub_(share * (weight - torch.from_numpy(without[name].copy())))
            before, after = (float(F.cross_entropy(one(images.double()), labels)) for one in (whole, weaker))
        assert found[members[index]] == pytest.approx(abs(after - before) / share, rel=1e-2, abs=1e-6)


def test_the_size_of_batches_makes_no_difference() -> None:
    net = network(residual_net())
    one = scores(net, Criterion.TAYLOR, some_batches(24, 24))
    np.testing.assert_allclose(scores(net, Criterion.TAYLOR, some_batches(24, 5)), one, rtol=1e-4, atol=1e-8)


def test_samples_that_disagree_do_not_cancel() -> None:
    net = network(residual_net())
    images = some_batches(8, 8)[0][0]

    def disagreeing(outputs: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
        assert isinstance(outputs, torch.Tensor)
        return (outputs.sum(dim=1) * torch.tensor([1.0, -1.0]).repeat_interleave(8)).mean()

    ties, count, axes = net.channels.ties, net.channels.count, net.channels.axes
    by_sample, by_batch = (
        score_channels(one, net.module, ties, count, [(images.repeat(2, 1, 1, 1), None)], axes=axes, loss=disagreeing)
        for one in (Criterion.TAYLOR, Criterion.TAYLOR_BATCH)
    )
    assert by_batch.max() < 1e-4 < by_sample.max()


def test_without_labels_the_networks_own_answer_is_the_right_one() -> None:
    net = network(residual_net())
    (images, _), *_ = some_batches(8, 8)
    with torch.no_grad():
        named = net.module(images).argmax(dim=1)
    np.testing.assert_allclose(
        scores(net, Criterion.TAYLOR, [(images, None)]), scores(net, Criterion.TAYLOR, [(images, named)])
    )


def _slopes(net: Network) -> dict[str, torch.Tensor]:
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in trained_weights(net.module).items()
    }
