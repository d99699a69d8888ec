"""A walk gives what one pass gives, and sees weights that change before they are used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import ModelError
from deploycompress.network.module import to_torch
from deploycompress.train.walk import Walk, peak_bytes
from tests.build import residual_net, start


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32))


def test_values_are_those_of_one_pass() -> None:
    module = to_torch(residual_net())
    batches = [images(3), images(2, seed=1)]
    names = [node.outputs[0] for node in module.source_graph.nodes]
    walk = Walk(module, batches, names)
    for name in names:
        for batch, found in zip(batches, walk.take(name), strict=True):
            with torch.no_grad():
                torch.testing.assert_close(found, module.observe([name], batch)[1][name], rtol=0, atol=0)


def test_a_weight_that_changes_before_its_step_counts() -> None:
    module = to_torch(residual_net())
    batch = images(3)
    conv = next(node for node in module.source_graph.nodes if node.inputs[1:2] == ("conv3.weight",))
    output = module.source_graph.outputs[0].name
    walk = Walk(module, [batch], [output])
    walk.before(conv.outputs[0])
    with torch.no_grad():
        dict(module.named_parameters())["conv3.weight"].mul_(2.0)
        expected = module(batch)
    torch.testing.assert_close(walk.take(output)[0], expected)


def test_a_value_goes_when_nobody_wants_it_any_more() -> None:
    module = to_torch(residual_net())
    relu = next(node.outputs[0] for node in module.source_graph.nodes if node.op == "Relu")
    output = module.source_graph.outputs[0].name
    walk = Walk(module, [images(2)], [relu, relu, output])
    walk.before(output)
    walk.take(relu)
    assert walk.has(relu)
    walk.take(relu)
    assert not walk.has(relu)
    with pytest.raises(ModelError, match="makes no value"):
        walk.take(relu)


def test_the_peak_is_the_largest_sum_of_values_that_are_still_read() -> None:
    net = start(0)
    y = net.conv(net.op("Relu", net.conv("x", 4)), 5)
    graph = net.finish(net.op("Flatten", y, axis=1), input_shape=(3, 8, 8))
    places = 8 * 8
    assert peak_bytes(graph) == 4 * places * max(3 + 4, 4 + 4, 4 + 5, 5 + 5)


def test_networks_of_several_inputs_are_refused() -> None:
    net = start(0)
    graph = net.finish(net.op("Relu", net.conv("x", 4)), input_shape=(3, 8, 8))
    module = to_torch(graph)
    twice = type(graph)(
        nodes=graph.nodes, weights=graph.weights, inputs=graph.inputs * 2, outputs=graph.outputs,
        shapes=graph.shapes, opset=graph.opset, ir_version=graph.ir_version,
    )  # fmt: skip
    module.source_graph = twice
    with pytest.raises(ModelError, match="2 inputs"):
        Walk(module, [images(2)])


@pytest.mark.parametrize("sizes", [(7,), (2, 5), (4, 1, 2)])
def test_norms_that_are_renewed_have_mean_and_variance_of_all_images(sizes: tuple[int, ...]) -> None:
    module = to_torch(residual_net())
    norms = [node for node in module.source_graph.nodes if node.op == "BatchNormalization"]
    chosen = norms[1::2]
    old, batch = module.current_weights(), images(7)
    walk = Walk(module, torch.split(batch, list(sizes)), renews=lambda norm: norm in chosen)
    walk.finish_norms()
    found = module.current_weights()
    for norm in norms:
        _, values = module.observe([norm.inputs[0]], batch)
        read = values[norm.inputs[0]].detach().double().numpy()
        expected = (read.mean(axis=(0, 2, 3)), read.var(axis=(0, 2, 3)))
        for name, moment in zip(norm.inputs[3:5], expected, strict=True):
            if norm in chosen:
                np.testing.assert_allclose(found[name], moment, rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(found[name], old[name])


def test_a_renewed_norm_that_reads_no_numbers_is_refused_by_name() -> None:
    module = to_torch(residual_net())
    norm = next(node for node in module.source_graph.nodes if node.op == "BatchNormalization")
    batch = images(2)
    batch[1, 0, 0, 0] = torch.inf
    with pytest.raises(ModelError, match=f"{norm.name!r} reads NaN or infinity"):
        Walk(module, [batch], renews=lambda norm: norm.is_standard).finish_norms()


def test_statistics_that_two_norms_share_are_left_alone() -> None:
    net = start(0)
    x = net.norm(net.conv("x", 4))
    shared = next(node for node in net.nodes if node.op_type == "BatchNormalization").input[1:]
    x = net.op("BatchNormalization", net.op("Relu", net.conv(x, 4)), *shared)
    graph = net.finish(net.op("Relu", net.norm(x)), input_shape=(3, 8, 8))
    module = to_torch(graph)
    asked = []
    walk = Walk(module, [images(3)], renews=lambda norm: not asked.append(norm.inputs[3]))  # type: ignore[func-returns-value]
    walk.finish_norms()
    assert asked == [graph.nodes[-2].inputs[3]]
    np.testing.assert_array_equal(module.current_weights()[shared[2]], graph.weights[shared[2]])
