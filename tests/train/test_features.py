from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import UsageError
from deploycompress.execute.correspondence import layer_pairs
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.slim import slim
from deploycompress.train.compute import Compute
from deploycompress.train.dataset import make_dataset
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.features import FeatureTap, choose_taps, features_loss
from deploycompress.train.generator import make_generator
from deploycompress.train.normalize import make_normalization, normalize

IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PLAN = Plan(keep={"1.0": (0, 2, 5), "2.0": (1, 3, 4, 6, 7)})


def stage(inputs: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), torch.nn.BatchNorm2d(outputs), torch.nn.ReLU()
    )


@pytest.fixture(scope="module")
def teacher() -> Graph:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            stage(3, 4), stage(4, 6), stage(6, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
            torch.nn.Linear(8, 5),
        )  # fmt: skip
        net(IMAGES)
    return capture(net.eval(), input_shape=(1, 3, 16, 16))


@pytest.fixture(scope="module")
def taps(teacher: Graph) -> tuple[FeatureTap, ...]:
    channels = trace_channels(teacher)
    return choose_taps(layer_pairs(Students(teacher, channels, ()), teacher, PLAN, slim(teacher, PLAN)), teacher)


def test_taps_are_the_ends_of_the_stages_and_know_the_channels_that_are_left(taps: tuple[FeatureTap, ...]) -> None:
    assert [tap.channels.tolist() for tap in taps] == [[0, 1, 2, 3], [0, 2, 5], [1, 3, 4, 6, 7]]


def test_what_a_cut_leaves_alone_costs_nothing_and_the_rest_is_the_relative_error(
    teacher: Graph, taps: tuple[FeatureTap, ...]
) -> None:
    student = to_torch(slim(teacher, PLAN))
    with torch.no_grad():
        seen = student.observe([tap.student for tap in taps], IMAGES)[1]
        shown = to_torch(teacher).observe([tap.teacher for tap in taps], IMAGES)[1]
    losses = [float(features_loss([tap], seen, shown)) for tap in taps]
    assert losses[:2] == pytest.approx([0.0, 0.0], abs=1e-10), "nothing before the second cut has lost an input"
    kept, target = seen[taps[2].student].numpy(), shown[taps[2].teacher].numpy()[:, [1, 3, 4, 6, 7]]
    assert losses[2] == pytest.approx(np.square(kept - target).mean() / np.square(target).mean(), rel=1e-4)
    assert losses[2] > 0.01
    assert float(features_loss(taps, seen, shown)) == pytest.approx(sum(losses) / 3, rel=1e-5)


@pytest.fixture(scope="module")
def task() -> TaskData:
    images = np.random.default_rng(0).integers(0, 255, (64, 16, 16, 3)).astype(np.uint8)
    data = make_dataset(images, np.arange(64) % 5, source="noise")
    return TaskData(training=data, validation=data, normalization=make_normalization(None, data))


def distilled(teacher: Graph, task: TaskData, taps: tuple[FeatureTap, ...], features: float) -> GraphModule:
    student = to_torch(slim(teacher, PLAN))
    settings = DistilSettings(
        steps=60,
        batch_size=32,
        peak_rate=0.005,
        features=features,
        checks=1,
        compute=Compute(device=torch.device("cpu")),
    )
    distil(student, to_torch(teacher), task, settings=settings, generator=make_generator(0), taps=taps)
    return student


def test_matching_features_brings_them_closer(teacher: Graph, task: TaskData, taps: tuple[FeatureTap, ...]) -> None:
    images = normalize(torch.from_numpy(task.training.images), task.normalization)

    def error(student: GraphModule) -> float:
        with torch.no_grad():
            seen = student.observe([tap.student for tap in taps], images)[1]
            shown = to_torch(teacher).observe([tap.teacher for tap in taps], images)[1]
        return float(features_loss(taps, seen, shown))

    without, matched = (error(distilled(teacher, task, taps, weight)) for weight in (0.0, 1.0))
    assert matched < 0.9 * without


def test_features_that_do_not_match_are_refused(teacher: Graph, task: TaskData) -> None:
    with pytest.raises(UsageError, match="no features of student and teacher match"):
        distilled(teacher, task, (), 1.0)


def test_the_tap_of_the_image_is_left_out(teacher: Graph, taps: tuple[FeatureTap, ...]) -> None:
    inputs = {port.name for port in teacher.inputs}
    assert not any(tap.teacher in inputs for tap in taps)
    assert all(first.teacher != second.teacher for first, second in itertools.combinations(taps, 2))
