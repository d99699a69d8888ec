"""Distillation of a student that rounds: it learns, its scales follow, and ONNX Runtime's integers agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.graph import Array, Graph
from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.network.qdq_pairs import qdq_pairs
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.affine import weight_affine
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import finished, quantized
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import Compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, StopReason, TaskData
from deploycompress.train.generator import make_generator
from deploycompress.train.losses import LossSettings
from deploycompress.train.quantized import distil_quantized
from deploycompress.train.quantized_scales import WeightScales
from tests.network.build import run_runtime
from tests.train.digits_graph import digits_graph
from tests.train.digits_net import digits_net, digits_task

CPU = Compute(device=torch.device("cpu"))
FORMS = [
    Int8Format(),
    Int8Format(activations="int8", symmetric_activations=True, per_channel=False, reduced_range=True),
]


@pytest.fixture(scope="module")
def task() -> TaskData:
    return digits_task()


@pytest.fixture(scope="module")
def teacher(task: TaskData) -> nn.Module:
    net = digits_net(8, seed=0)
    settings = DistilSettings(steps=150, peak_rate=0.1, loss=LossSettings(tau=0.0), checks=3, compute=CPU)
    assert distil(net, net, task, settings=settings, generator=make_generator(0)).accuracy > 0.95
    return net


def _images(task: TaskData, count: int) -> Array:
    pixels = task.training.images[:count].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels, np.float32) / np.float32(255)


def _student(net: nn.Sequential, task: TaskData, form: Int8Format, *, noise: float = 0.0) -> Graph:
    """Quantise a network for training, its weights shaken."""
    shipped = shipped_form(digits_graph(net.eval()))
    rng = np.random.default_rng(0)
    shaken = {
        name: array + (noise * array.std() * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in shipped.weights.items()
        if array.dtype == np.float32 and array.ndim > 1
    }
    shipped = shipped.with_weights(shaken)
    return quantized(shipped, find_ranges(shipped, [_images(task, 200)]), form, trainable=True)


def _assert_scales_follow(graph: Graph, form: Int8Format) -> None:
    pairs = [pair for pair in qdq_pairs(graph) if pair.is_weight]
    assert len(pairs) == 3
    for pair in pairs:
        expected = weight_affine(graph.weights[pair.value], pair.axis, form).scale
        np.testing.assert_array_equal(graph.weights[pair.scale], expected)


@pytest.mark.parametrize("form", FORMS, ids=["per_channel", "per_tensor"])
def test_a_student_that_rounds_learns_and_its_integers_agree_with_it(
    task: TaskData, teacher: nn.Sequential, form: Int8Format
) -> None:
    student = to_torch(_student(teacher, task, form, noise=0.6))
    before = accuracy(student, task.validation, task.normalization)
    settings = DistilSettings(steps=60, peak_rate=2e-3, checks=3, compute=CPU)
    report = distil_quantized(
        student, teacher, task, settings=settings, generator=make_generator(0), initial_accuracy=before
    )
    assert report.accuracy > before + 0.05
    assert report.accuracy == accuracy(student, task.validation, task.normalization)
    written = from_torch(student)
    _assert_scales_follow(written, form)
    images = _images(task, 300)
    (integers,) = run_runtime(finished(written, form), images)
    fake = student(torch.from_numpy(images)).detach().numpy()
    assert np.abs(integers - fake).max() < 0.02 * np.ptp(fake)
    assert (integers.argmax(axis=1) == fake.argmax(axis=1)).mean() > 0.99


def test_scales_follow_at_every_look_at_the_average_too(task: TaskData, teacher: nn.Sequential) -> None:
    form = Int8Format()
    student = to_torch(_student(teacher, task, form, noise=0.6))
    settings = DistilSettings(steps=12, peak_rate=1e-3, checks=2, averaging=0.9, compute=CPU)
    report = distil_quantized(student, teacher, task, settings=settings, generator=make_generator(0))
    assert report.stopped is StopReason.FINISHED
    _assert_scales_follow(from_torch(student), form)


def test_weights_that_were_better_before_keep_the_scales_they_came_with(task: TaskData, teacher: nn.Sequential) -> None:
    graph = _student(teacher, task, Int8Format())
    graph = graph.with_weights({name: array * 2 for name, array in graph.weights.items() if name.endswith("t.scale")})
    student = to_torch(graph)
    settings = DistilSettings(steps=2, checks=1, compute=CPU)
    distil_quantized(
        student,
        teacher,
        task,
        settings=settings,
        generator=make_generator(0),
        initial_accuracy=1.0,
    )
    for name, array in from_torch(student).weights.items():
        np.testing.assert_array_equal(array, graph.weights[name])


@pytest.mark.parametrize("form", FORMS, ids=["per_channel", "per_tensor"])
def test_scales_of_weights_that_are_all_zero_are_one(task: TaskData, teacher: nn.Sequential, form: Int8Format) -> None:
    student: GraphModule = to_torch(_student(teacher, task, form))
    with torch.no_grad():
        for index, parameter in enumerate(student.parameters()):
            parameter[: len(parameter) - index % 2].mul_(0) if parameter.ndim > 1 else parameter.mul_(3)
    WeightScales(student).update()
    _assert_scales_follow(from_torch(student), form)


def test_one_step_moves_every_weight_by_the_rate_however_small_its_gradient(
    task: TaskData, teacher: nn.Sequential
) -> None:
    student = to_torch(_student(teacher, task, Int8Format()))
    before = {name: parameter.detach().clone() for name, parameter in student.named_parameters()}
    settings = DistilSettings(steps=1, checks=1, warm_up=0.0, weight_decay=0.0, peak_rate=1e-3, compute=CPU)
    distil_quantized(student, teacher, task, settings=settings, generator=make_generator(0))
    for name, parameter in student.named_parameters():
        moved = (parameter.detach() - before[name]).abs()
        assert moved.max() <= 1.001e-3
        assert moved.median() > 0.9e-3
