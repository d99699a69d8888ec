"""On a trained network the default criterion leaves more of it than chance does."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.choice import choose_channels
from deploycompress.network.module import to_torch
from deploycompress.pipeline.settings import ImportanceSettings
from deploycompress.plan import Plan
from deploycompress.surgery.slim import slim
from deploycompress.train.accuracy import accuracy
from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.data import load_data
from deploycompress.train.normalize import make_normalization
from deploycompress.train.recalibrate import recalibrate
from deploycompress.train.split import split_validation
from tests.shared import CIFAR10, RESNET20, needs_shared
from tools.cifar_resnet import resnet20


@needs_shared
def test_half_of_resnet20_is_worth_more_when_chosen_than_by_chance() -> None:
    network = resnet20()
    network.load_state_dict(torch.load(RESNET20, weights_only=True))
    graph = capture(network.eval(), input_shape=(1, 3, 32, 32))
    channels = trace_channels(graph)
    data = load_data(str(CIFAR10 / "train-0.npz"), input_shape=(3, 32, 32), num_classes=10)
    training, validation = split_validation(data, generator=np.random.default_rng(0), at_most=500)
    normalization = make_normalization(None, training)
    batches = list(calibration_batches(training, normalization, generator=np.random.default_rng(1), samples=512))

    def accuracy_of_half(scores: NDArray[np.float64]) -> float:
        keep = {
            group.name: choose_channels(scores[channels.members_of(index)].tolist(), group.width // 2)
            for index, group in enumerate(channels.groups)
            if not group.frozen
        }
        student = to_torch(slim(graph, Plan(keep=keep)))
        recalibrate(student, batches[:5])
        return accuracy(student, validation, normalization)

    default = ImportanceSettings().criterion
    found = score_channels(default, to_torch(graph), channels.ties, channels.count, batches[:1], axes=channels.axes)
    by_chance = [accuracy_of_half(np.random.default_rng(seed).random(channels.count + 1)) for seed in range(3)]
    assert accuracy_of_half(found) > max(by_chance) + 0.04
