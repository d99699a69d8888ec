from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.errors import DataError, ModelError, UsageError
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.train.compute import Compute
from deploycompress.train.synthesis import synthesise
from deploycompress.train.synthesis_settings import Synthesis, SynthesisProgress, SynthesisSettings

SHAPES = {"colour, wide": (3, 8, 20), "grey, square": (1, 12, 12)}
SETTINGS = SynthesisSettings(batch_size=64, iterations=15, compute=Compute(device=torch.device("cpu")))


def memory_net(shape: tuple[int, int, int], *, norms: bool = True) -> nn.Sequential:
    """A network whose norms remember bright stripes with correlated channels, in the range of bytes."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.set_rng_state(generator.get_state())
        net = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.BatchNorm2d(6, momentum=None) if norms else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8, momentum=None) if norms else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )
    phase = torch.rand(512, 1, 1, 1, generator=generator) * 6
    stripes = torch.sin(torch.arange(width).view(1, 1, 1, -1) * 0.7 + phase).expand(-1, 1, height, -1)
    images = 150 + 60 * stripes * torch.linspace(0.6, 1.0, channels).view(1, -1, 1, 1)
    net.train()
    net(images + 5 * torch.randn(images.shape, generator=generator))
    net.eval()
    with torch.no_grad():  # let what it sees decide between the classes, not the bias
        head = net[-1]
        assert isinstance(head, nn.Linear)
        head.weight.mul_(10)
        head.bias.copy_(-head.weight @ net[:-1](images).mean(dim=0))
    return net


def memory_module(shape: tuple[int, int, int]) -> GraphModule:
    return to_torch(capture(memory_net(shape), input_shape=(1, *shape)))


def make(
    module: GraphModule, shape: tuple[int, int, int], *, seed: int = 0, settings: SynthesisSettings = SETTINGS
) -> Synthesis:
    return synthesise(
        module,
        count=64,
        input_shape=shape,
        generator=torch.Generator().manual_seed(seed),
        settings=settings,
    )


def plain_mismatch(net: nn.Sequential, images: torch.Tensor) -> float:
    """The same distance by hooks on torch's own layers, in float64."""
    found: list[float] = []

    def hook(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        per_channel = inputs[0].double().transpose(0, 1).flatten(1)
        variance = norm.running_var.double() + norm.eps
        shift = (per_channel.mean(dim=1) - norm.running_mean.double()) ** 2 / variance
        stretch = (per_channel.std(dim=1, correction=0) / variance.sqrt() - 1) ** 2
        found.append(float((shift + stretch).mean()))

    handles = [part.register_forward_pre_hook(hook) for part in net if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return sum(found) / len(found)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_images_have_the_statistics_that_the_norms_remember(shape: tuple[int, int, int]) -> None:
    module = memory_module(shape)
    found = make(module, shape, settings=replace(SETTINGS, class_weight=0.0))
    channels, height, width = shape
    assert found.images.shape == (64, height, width, channels)
    assert found.images.dtype == np.float32
    assert np.isfinite(found.images).all()
    assert found.norms == 2
    assert found.mismatch < 0.7 * found.mismatch_drawn
    assert found.mismatch < 0.01 * found.mismatch_noise
    images = torch.from_numpy(found.images).permute(0, 3, 1, 2)
    assert plain_mismatch(memory_net(shape), images) == pytest.approx(found.mismatch, rel=1e-2)
    # the network never saw a mean of zero or a deviation of one
    assert images.mean() == pytest.approx(150, abs=15)
    assert 5 < images.std() < 60


def test_a_network_is_left_as_it_was() -> None:
    shape = SHAPES["grey, square"]
    module = memory_module(shape)
    module.train()
    next(module.parameters()).requires_grad_(False)
    flags = [parameter.requires_grad for parameter in module.parameters()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    make(module, shape)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert [parameter.requires_grad for parameter in module.parameters()] == flags
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.training


def test_a_seed_decides_every_pixel() -> None:
    shape = SHAPES["grey, square"]
    module = memory_module(shape)
    first, again, other = (make(module, shape, seed=seed).images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_as_many_images_as_asked_for_and_all_different() -> None:
    shape = SHAPES["grey, square"]
    told: list[SynthesisProgress] = []
    found = synthesise(
        memory_module(shape),
        count=100,
        input_shape=shape,
        generator=torch.Generator().manual_seed(0),
        settings=SETTINGS,
        on_progress=told.append,
    )
    assert len({image.tobytes() for image in found.images}) == len(found.images) == 100
    assert found.batches == 2
    assert [(progress.images, progress.count) for progress in told] == [(64, 100), (100, 100)]


def test_a_deadline_leaves_one_batch() -> None:
    shape = SHAPES["grey, square"]
    found = synthesise(
        memory_module(shape),
        count=1000,
        input_shape=shape,
        generator=torch.Generator().manual_seed(0),
        settings=SETTINGS,
        deadline=lambda: 0.0,
    )
    assert len(found.images) == 64


def test_a_classifier_sees_the_classes_it_is_to_see() -> None:
    shape = SHAPES["grey, square"]
    module = memory_module(shape)
    found = make(module, shape, settings=replace(SETTINGS, rate=0.3, class_weight=10.0))
    assert found.target_share is not None
    assert found.target_share > 0.5  # of four classes, a quarter by chance
    with torch.no_grad():
        logits = module(torch.from_numpy(found.images).permute(0, 3, 1, 2))
    # 16 images were drawn to each class, so that a class seen more often has hits by 16 at most
    assert found.target_share <= float(logits.argmax(dim=1).bincount(minlength=4).clamp_max(16).sum()) / 64
    assert make(module, shape, settings=replace(SETTINGS, class_weight=0.0)).target_share is None


def test_a_network_that_is_no_classifier_has_no_classes() -> None:
    shape = SHAPES["grey, square"]
    module = to_torch(capture(memory_net(shape)[:6], input_shape=(1, *shape)))
    found = make(module, shape, settings=replace(SETTINGS, class_weight=1.0))
    assert found.target_share is None
    assert found.mismatch < 0.1 * found.mismatch_noise


def test_without_norms_there_is_nothing_to_go_by() -> None:
    shape = SHAPES["grey, square"]
    bare = to_torch(capture(memory_net(shape, norms=False), input_shape=(1, *shape)))
    folded = to_torch(fold_batch_norm(capture(memory_net(shape), input_shape=(1, *shape))))
    for module in (bare, folded):
        with pytest.raises(DataError, match=r"no batch norms.*--data"):
            make(module, shape)


@pytest.mark.parametrize("name", ["running_mean", "running_var", "3.weight", "8.bias"])
def test_numbers_that_are_none_are_refused(name: str) -> None:
    shape = SHAPES["grey, square"]
    module = memory_module(shape)
    key = next(key for key in module.state_dict() if name in key)
    module.state_dict()[key].view(-1)[0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        make(module, shape)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 1}, {"rate": 0.0}, {"iterations": -1}, {"class_weight": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected"):
        SynthesisSettings(**wrong)  # type: ignore[arg-type]
