from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import Compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import (
    DistilProgress,
    DistilReport,
    DistilSettings,
    StopReason,
    TaskData,
)
from deploycompress.train.generator import make_generator
from deploycompress.train.losses import LossKind, LossSettings
from tests.train.digits_net import digits_net, digits_task

CPU = Compute(device=torch.device("cpu"))
HARD = LossSettings(tau=0.0)


@pytest.fixture(scope="module")
def task() -> TaskData:
    return digits_task()


@pytest.fixture(scope="module")
def teacher(task: TaskData) -> nn.Module:
    net = digits_net(12, seed=0)
    settings = DistilSettings(steps=150, peak_rate=0.1, loss=HARD, checks=3, compute=CPU)
    report = distil(net, net, task, settings=settings, generator=make_generator(0))
    assert report.accuracy > 0.95
    return net


def weights_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def short_run(teacher: nn.Module, task: TaskData, *, seed: int, dropout: float = 0.0) -> dict[str, torch.Tensor]:
    student = digits_net(4, seed=1, dropout=dropout)
    settings = DistilSettings(steps=6, checks=2, compute=CPU)
    distil(student, teacher, task, settings=settings, generator=make_generator(seed))
    return weights_of(student)


@pytest.mark.parametrize("loss", [LossSettings(tau=0.9), LossSettings(kind=LossKind.L2)])
def test_a_smaller_student_learns_the_digits_from_its_teacher(
    teacher: nn.Module, task: TaskData, loss: LossSettings
) -> None:
    student, lesson = digits_net(6, seed=1), weights_of(teacher)
    before = accuracy(student, task.validation, task.normalization)
    settings = DistilSettings(steps=150, peak_rate=0.05, loss=loss, checks=3)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0))
    assert report.accuracy > max(0.9, before)
    assert report.accuracy == accuracy(student, task.validation, task.normalization)
    assert (report.steps, report.images_seen, report.stopped) == (150, 150 * 128, StopReason.FINISHED)
    assert student.training
    assert same(lesson, weights_of(teacher))
    assert all(parameter.grad is None for parameter in (*student.parameters(), *teacher.parameters()))


def test_the_seed_decides_the_weights(teacher: nn.Module, task: TaskData) -> None:
    assert same(short_run(teacher, task, seed=5), short_run(teacher, task, seed=5))
    assert not same(short_run(teacher, task, seed=5), short_run(teacher, task, seed=6))


def test_dropout_follows_the_seed_and_leaves_the_global_generator_alone(teacher: nn.Module, task: TaskData) -> None:
    before = torch.get_rng_state()
    assert same(short_run(teacher, task, seed=5, dropout=0.5), short_run(teacher, task, seed=5, dropout=0.5))
    assert torch.equal(before, torch.get_rng_state())


def test_a_first_step_is_that_of_torch_by_hand(teacher: nn.Module, task: TaskData) -> None:
    whole = len(task.training)
    settings = DistilSettings(
        steps=1, batch_size=whole, peak_rate=0.02, warm_up=0.0, momentum=0.0, weight_decay=0.0, augments=False,
        compute=CPU, loss=HARD,
    )  # fmt: skip
    student, by_hand = digits_net(4, seed=1), digits_net(4, seed=1)
    distil(student, teacher, task, settings=settings, generator=make_generator(0))
    images = torch.from_numpy(task.training.images).permute(0, 3, 1, 2).float() / 255
    F.cross_entropy(by_hand(images), torch.from_numpy(task.training.labels)).backward()  # type: ignore[no-untyped-call]
    for learned, started in zip(student.parameters(), by_hand.parameters(), strict=True):
        assert started.grad is not None
        torch.testing.assert_close(learned.detach(), started.detach() - 0.02 * started.grad, rtol=1e-4, atol=1e-6)


def test_divergence_goes_back_to_the_weights_before(teacher: nn.Module, task: TaskData) -> None:
    student = digits_net(4, seed=1)
    before = weights_of(student)
    settings = DistilSettings(steps=60, peak_rate=1e30, warm_up=0.0, checks=1, compute=CPU)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0))
    assert report.stopped is StopReason.DIVERGED
    assert report.best_step == 0
    assert same(before, weights_of(student))
    assert report.accuracy == accuracy(student, task.validation, task.normalization)


def test_weights_that_were_better_before_are_kept(teacher: nn.Module, task: TaskData) -> None:
    student = digits_net(4, seed=1)
    before = weights_of(student)
    settings = DistilSettings(steps=2, checks=1, compute=CPU)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0), initial_accuracy=1.0)
    assert (report.accuracy, report.best_step) == (1.0, 0)
    assert same(before, weights_of(student))


def test_a_deadline_ends_the_run_with_a_check(teacher: nn.Module, task: TaskData) -> None:
    left = itertools.chain([1e9] * 6, itertools.repeat(0.0))
    student = digits_net(4, seed=1)
    settings = DistilSettings(steps=10_000, checks=1, compute=CPU)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0), deadline=lambda: next(left))
    assert report.stopped is StopReason.DEADLINE
    assert 1 <= report.steps <= 6
    assert report.accuracy == accuracy(student, task.validation, task.normalization)


def test_measuring_the_pace_changes_nothing_of_the_result(teacher: nn.Module, task: TaskData) -> None:
    student = digits_net(4, seed=1, dropout=0.5)
    settings = DistilSettings(steps=6, seconds=1e6, checks=2, compute=CPU)
    report: DistilReport = distil(student, teacher, task, settings=settings, generator=make_generator(5))
    assert report.corrections == 0
    assert same(weights_of(student), short_run(teacher, task, seed=5, dropout=0.5))


def test_progress_is_told_after_each_step(teacher: nn.Module, task: TaskData) -> None:
    told: list[DistilProgress] = []
    settings = DistilSettings(epochs=0.5, batch_size=100, checks=2, compute=CPU)
    distil(digits_net(4, seed=1), teacher, task, settings=settings, generator=make_generator(0), on_step=told.append)
    assert [progress.step for progress in told] == list(range(1, 9))  # half of 1,438 images in hundreds, rounded up
    assert {progress.end_step for progress in told} == {8}
    assert told[2].accuracy is None
    assert told[-1].accuracy is not None


def test_a_run_without_an_end_is_refused(teacher: nn.Module, task: TaskData) -> None:
    with pytest.raises(UsageError, match="without an end"):
        distil(digits_net(4, seed=1), teacher, task, settings=DistilSettings(), generator=make_generator(0))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"seconds": -1.0}, {"momentum": 1.0}, {"weight_decay": -0.1}, {"pasted_from": -2.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        DistilSettings(**wrong)  # type: ignore[arg-type]  # one number among fields of several types


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({"features": 0.1, "compiles": True}, "features and compiles"),
        ({"adaptive": True}, "give peak_rate, too"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(pair: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DistilSettings(**pair)  # type: ignore[arg-type]  # likewise


def test_training_without_progress_ends_when_patience_does(teacher: nn.Module, task: TaskData) -> None:
    student = digits_net(4, seed=1)
    settings = DistilSettings(steps=100, checks=50, patience=3, peak_rate=1e-12, compute=CPU)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0), initial_accuracy=1.0)
    assert (report.stopped, report.steps, report.best_step) == (StopReason.PLATEAU, 6, 0)


def test_the_average_is_what_is_judged_and_kept(teacher: nn.Module, task: TaskData) -> None:
    student, plain = digits_net(6, seed=1), digits_net(6, seed=1)
    settings = DistilSettings(steps=120, peak_rate=0.05, averaging=0.95, checks=1, compute=CPU)
    report = distil(student, teacher, task, settings=settings, generator=make_generator(0))
    distil(plain, teacher, task, settings=replace(settings, averaging=0.0), generator=make_generator(0))
    assert report.accuracy == accuracy(student, task.validation, task.normalization) > 0.85
    assert not same(weights_of(student), weights_of(plain))


def test_few_views_ask_the_teacher_less(task: TaskData, teacher: nn.Module) -> None:
    asked: list[int] = []
    handle = teacher.register_forward_hook(lambda *call: asked.append(len(call[-1])))
    try:
        settings = DistilSettings(epochs=3, batch_size=len(task.training), views=2, checks=1, compute=CPU)
        distil(digits_net(4, seed=1), teacher, task, settings=settings, generator=make_generator(0))
    finally:
        handle.remove()
    assert sum(asked) == 2 * len(task.training) + 1  # one image beforehand, for the size of an answer


def test_a_deadline_that_comes_up_on_the_way_is_kept(task: TaskData, teacher: nn.Module) -> None:
    begun, limit_s = time.monotonic(), 3.0
    calls = iter(range(10**9))

    def deadline() -> float | None:
        return None if next(calls) < 5 else begun + limit_s - time.monotonic()

    settings = DistilSettings(steps=10**6, checks=2, compute=CPU)
    report = distil(
        digits_net(4, seed=1), teacher, task, settings=settings, generator=make_generator(0), deadline=deadline
    )
    assert 10 < report.steps < 10**6
    assert time.monotonic() - begun < 2 * limit_s


def test_without_augmentation_the_teacher_is_asked_about_each_image_once(task: TaskData, teacher: nn.Module) -> None:
    asked: list[int] = []
    handle = teacher.register_forward_hook(lambda *call: asked.append(len(call[-1])))
    try:
        settings = DistilSettings(epochs=3, batch_size=len(task.training), augments=False, checks=1, compute=CPU)
        distil(digits_net(4, seed=1), teacher, task, settings=settings, generator=make_generator(0))
    finally:
        handle.remove()
    assert sum(asked) == len(task.training) + 1


@pytest.mark.parametrize(
    ("pasting", "is_pasted"),
    [
        ({"pasted": 0.5, "pasted_from": 2.0}, True),
        ({"pasted": 0.5, "pasted_from": 2.1}, False),
        ({"pasted": 0.5, "pasted_from": 2.0, "augments": False}, False),
        ({"pasted": 0.5, "pasted_from": 2.0, "loss": HARD}, False),
    ],
)
def test_rectangles_are_pasted_in_long_runs_whose_teacher_is_asked(
    teacher: nn.Module, task: TaskData, pasting: dict[str, Any], is_pasted: bool
) -> None:
    def trained(**changes: Any) -> tuple[dict[str, torch.Tensor], DistilReport]:
        student = digits_net(4, seed=1)
        settings = replace(DistilSettings(epochs=2, batch_size=len(task.training), checks=1, compute=CPU), **changes)
        report = distil(student, teacher, task, settings=settings, generator=make_generator(0))
        return weights_of(student), report

    (weights, report), (plain, _) = trained(**pasting), trained(**{**pasting, "pasted": 0.0})
    assert same(weights, plain) is not is_pasted
    assert (report.views, report.pasted) == (2 if pasting.get("augments", True) else 1, 0.5 if is_pasted else 0.0)
