from __future__ import annotations

import torch
from torch import nn

from deploycompress.train.average import WeightAverage


def test_the_average_is_the_recursion_written_out_and_the_weights_come_back() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = WeightAverage(net, decay=0.9)
    expected = [tensor.clone() for tensor in net.state_dict().values() if tensor.is_floating_point()]
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 200):
        live = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
        for place, tensor in enumerate(live):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
            decay = min(0.9, step / (10 + step))
            expected[place] = decay * expected[place] + (1 - decay) * tensor
        average.update()
    before = [tensor.clone() for tensor in live]
    with average.applied():
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(live, expected, strict=True))
        assert not torch.equal(live[0], before[0])
    assert all(torch.equal(one, other) for one, other in zip(live, before, strict=True))
