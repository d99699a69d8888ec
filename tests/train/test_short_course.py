"""A short course teaches every student the same, in stretches that can be taken one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.train import short_course
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import Compute, evaluation_compute
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.losses import LossSettings, combined_loss
from deploycompress.train.normalize import normalize
from deploycompress.train.short_course import CourseSettings, ShortCourse
from tests.train.digits_net import digits_net, digits_task

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

SETTINGS = CourseSettings(batch_size=32, peak_rate=0.02)
COMPUTE: Compute = evaluation_compute()


@pytest.fixture(scope="module")
def task() -> TaskData:
    return digits_task()


@pytest.fixture(scope="module")
def teacher(task: TaskData) -> nn.Sequential:
    net = digits_net(12, 0).train()
    images = normalize(torch.from_numpy(task.training.images), task.normalization)
    labels = torch.from_numpy(task.training.labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(120):
        chosen = torch.arange(step * 64, step * 64 + 64) % len(labels)
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(images[chosen]), labels[chosen]))
        optimizer.step()
    return net.eval()


def course(teacher: nn.Module, task: TaskData, *, settings: CourseSettings = SETTINGS, seed: int = 0) -> ShortCourse:
    return ShortCourse(teacher, task, settings=settings, compute=COMPUTE, seed=seed)


def taught(one: ShortCourse, *stretches: tuple[int, int], student: nn.Module | None = None) -> nn.Module:
    net = (student or digits_net(6, 5)).eval()
    for start, stop in stretches:
        assert one.teach(net, start=start, stop=stop)
    return net


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_a_student_learns(teacher: nn.Module, task: TaskData) -> None:
    before = accuracy(digits_net(6, 5).eval(), task.validation, task.normalization, compute=COMPUTE)
    student = taught(course(teacher, task), (0, 80))
    after = accuracy(student, task.validation, task.normalization, compute=COMPUTE)
    assert after > max(before, 0.3) + 0.3


def test_the_same_student_is_taught_the_same_whatever_was_taught_before(teacher: nn.Module, task: TaskData) -> None:
    shared = course(teacher, task)
    first = taught(shared, (0, 5), (5, 12))
    taught(shared, (0, 20), student=digits_net(4, 9))
    assert same(taught(shared, (0, 5), (5, 12)), first)
    assert same(taught(course(teacher, task), (0, 5), (5, 12)), first)
    assert not same(taught(course(teacher, task, seed=1), (0, 5), (5, 12)), first)
    assert not same(taught(shared, (0, 12)), first), "each stretch has a cycle of its own"


def test_teacher_and_training_flags_are_left_as_they_were(teacher: nn.Module, task: TaskData) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student = digits_net(6, 5).eval()
    student[1].train()
    flags = [module.training for module in student.modules()]
    taught_student = course(teacher, task)
    assert taught_student.teach(student, start=0, stop=3)
    assert [module.training for module in student.modules()] == flags
    assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_one_step_is_gradient_descent_on_the_loss_of_the_first_batch(teacher: nn.Module, task: TaskData) -> None:
    """The batch is of all images, so that it is known; norms and biases, which do not decay, move down the gradient."""
    settings = CourseSettings(batch_size=len(task.training), peak_rate=0.02, loss=LossSettings(tau=0.5))
    student, twin = digits_net(6, 5), digits_net(6, 5).train()
    course(teacher, task, settings=settings).teach(student, start=0, stop=1)
    images = normalize(torch.from_numpy(task.training.images), task.normalization)
    labels = torch.from_numpy(task.training.labels)
    with torch.no_grad():
        answers = teacher(images)
    loss = combined_loss(twin(images), answers, labels, settings.loss)
    gradients = torch.autograd.grad(loss, list(twin.parameters()))
    moved = [
        after.detach() - before.detach() for after, before in zip(student.parameters(), twin.parameters(), strict=True)
    ]
    for step, gradient, parameter in zip(moved, gradients, twin.parameters(), strict=True):
        if parameter.ndim < 2:
            expected = -gradient / gradient.norm()
            np.testing.assert_allclose(step / step.norm(), expected, atol=2e-3)


def test_each_batch_is_of_other_images(teacher: nn.Module, task: TaskData) -> None:
    """With a rate that is next to nothing only the statistics of the batches move a student's norms."""
    still = CourseSettings(batch_size=32, peak_rate=1e-12)
    one = course(teacher, task, settings=still)
    first, second = taught(one, (0, 1)), taught(one, (1, 2))
    assert not torch.equal(first.state_dict()["1.running_mean"], second.state_dict()["1.running_mean"])
    several = taught(one, (0, 1), (1, 2))
    assert same(several, taught(one, (0, 2))) or torch.allclose(
        several.state_dict()["1.running_mean"], taught(one, (0, 2)).state_dict()["1.running_mean"]
    )


def test_it_goes_on_past_the_end_of_the_images(teacher: nn.Module, task: TaskData) -> None:
    rounds = CourseSettings(batch_size=len(task.training) - 1, peak_rate=0.01)
    assert course(teacher, task, settings=rounds).teach(digits_net(2, 1), start=0, stop=3)


def test_a_loss_that_is_no_number_is_told(teacher: nn.Module, task: TaskData) -> None:
    broken = digits_net(6, 5)
    with torch.no_grad():
        list(broken.parameters())[-2][0, 0] = math.nan
    assert not course(teacher, task).teach(broken, start=0, stop=2)


@pytest.mark.parametrize("name", ["batch_size", "peak_rate"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_settings_that_make_no_sense_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        CourseSettings(**{name: value})  # type: ignore[arg-type]  # of either kind


def test_answers_too_large_to_keep_teach_the_same(
    teacher: nn.Module, task: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = taught(course(teacher, task), (0, 3))
    monkeypatch.setattr(short_course, "MOST_BYTES", 1)
    assert same(taught(course(teacher, task), (0, 3)), kept)
