"""What all criteria have in common: dead channels are worth nothing, nothing is touched, and no nonsense is scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import DataError, ModelError
from deploycompress.train.criteria.criterion import Criterion
from tests.build import residual_net
from tests.train.criteria.networks import network, scores, some_batches, with_inner_norm

ON_IMAGES = [one for one in Criterion if one not in (Criterion.MAGNITUDE, Criterion.NORM_SCALE)]


@pytest.mark.parametrize("criterion", ON_IMAGES)
def test_a_dead_channel_is_worth_nothing(criterion: Criterion) -> None:
    graph = residual_net()
    before = scores(network(graph), criterion, some_batches())
    _, channels = with_inner_norm(graph, 0, scale=0, shift=0)
    best = int(np.argmax(before[channels]))
    dead, _ = with_inner_norm(graph, best, scale=0, shift=0)
    assert scores(network(dead), criterion, some_batches())[channels[best]] == 0 < before[channels[best]]


@pytest.mark.parametrize("criterion", Criterion)
def test_there_is_a_finite_score_for_every_channel_and_none_for_no_channel(criterion: Criterion) -> None:
    net = network(residual_net())
    found = scores(net, criterion, some_batches())
    assert found.shape == (net.channels.count + 1,)
    assert found.dtype == np.float64
    assert found[0] == 0
    assert np.isfinite(found).all()
    for index, group in enumerate(net.channels.groups):
        if not group.frozen:
            assert found[net.channels.members_of(index)].max() > 0


@pytest.mark.parametrize("criterion", Criterion)
def test_scoring_leaves_no_trace_and_gives_the_same_again(criterion: Criterion) -> None:
    net, batches = network(residual_net()), some_batches()
    net.module.train()
    images = [batch.clone() for batch, _ in batches]
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    first = scores(net, criterion, batches)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.module.state_dict().items())
    assert all(parameter.grad is None for parameter in net.module.parameters())
    assert all(torch.equal(old, new) and not new.requires_grad for old, (new, _) in zip(images, batches, strict=True))
    assert net.module.training
    np.testing.assert_array_equal(scores(net, criterion, batches), first)


@pytest.mark.parametrize("criterion", Criterion)
def test_frozen_weights_are_scored_like_others(criterion: Criterion) -> None:
    net, batches = network(residual_net()), some_batches()
    expected = scores(net, criterion, batches)
    if criterion is Criterion.TAYLOR_BATCH:
        pytest.skip("takes gradients of the weights themselves")
    net.module.requires_grad_(False)
    np.testing.assert_allclose(scores(net, criterion, batches), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("criterion", ON_IMAGES)
def test_an_image_that_is_not_finite_is_named(criterion: Criterion) -> None:
    batches = some_batches()
    batches[1][0][3, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="Calibration image 3 of a batch of 8 holds NaN"):
        scores(network(residual_net()), criterion, batches)


@pytest.mark.parametrize("criterion", Criterion)
def test_a_weight_that_is_not_finite_is_named(criterion: Criterion) -> None:
    net = network(residual_net())
    name = "norm4.weight" if criterion is Criterion.NORM_SCALE else "conv3.weight"
    with torch.no_grad():
        net.module.get_parameter(name).view(-1)[0] = torch.inf
    with pytest.raises(ModelError, match=r"(Weight 'norm4|Weight 'conv3|Value 'conv3).*NaN or infinity"):
        scores(net, criterion, some_batches())


@pytest.mark.parametrize("criterion", ON_IMAGES)
def test_scoring_on_nothing_is_refused(criterion: Criterion) -> None:
    with pytest.raises(DataError, match="no calibration images"):
        scores(network(residual_net()), criterion, [])
