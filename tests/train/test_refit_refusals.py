"""What a refit refuses or leaves alone, and says so."""

from __future__ import annotations

import pytest
import torch

from deploycompress.errors import DataError, ModelError, UsageError
from deploycompress.train.refit import refit
from deploycompress.train.refit_settings import RefitSettings
from deploycompress.train.walk import peak_bytes
from tests.build import residual_net
from tests.train.test_refit import batches_of, settle


def test_images_that_are_no_numbers_or_too_few_are_refused() -> None:
    student, teacher, pairs = settle(residual_net())
    batches = batches_of(4, 4)
    batches[1][0][2, 1, 0, 0] = torch.nan
    with pytest.raises(DataError, match="batch 1 holds NaN"):
        refit(student, teacher, pairs, batches)
    for few in ([], batches_of(1)):
        with pytest.raises(DataError, match="two at least"):
            refit(student, teacher, pairs, few)


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    for who in ("student", "teacher"):
        student, teacher, pairs = settle(residual_net())
        with torch.no_grad():
            spoilt = student if who == "student" else teacher
            dict(spoilt.named_parameters())["conv3.weight"][0, 0, 0, 0] = torch.inf
        with pytest.raises(ModelError, match=rf"'conv3\.weight' of the {who}"):
            refit(student, teacher, pairs, batches_of(4))


def test_values_that_overflow_are_refused() -> None:
    student, teacher, pairs = settle(residual_net())
    with torch.no_grad():
        dict(teacher.named_parameters())["norm1.weight"].fill_(3e38)
        dict(teacher.named_parameters())["conv0.weight"].fill_(3e38)
    with pytest.raises(ModelError, match="NaN or infinity on the calibration images"):
        refit(student, teacher, pairs, batches_of(4))


def test_what_is_left_alone_is_named() -> None:
    student, teacher, pairs = settle(residual_net())
    report = refit(student, teacher, pairs[1:], batches_of(4), settings=RefitSettings(most_unknowns=30))
    assert report.skipped[pairs[0].weight] == "the teacher's same layer was not found"
    assert report.skipped[pairs[1].weight].startswith("its filters have 36 numbers")
    assert {*report.skipped, *(layer.weight for layer in report.layers)} == {pair.weight for pair in pairs}


@pytest.mark.parametrize("name", ["rows", "most_unknowns", "most_bytes"])
def test_settings_must_be_positive(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        RefitSettings(**{name: 0})  # type: ignore[arg-type]
    for ridges in ((), (0.0,), (1e-3, float("nan"))):
        with pytest.raises(UsageError, match="ridges"):
            RefitSettings(ridges=ridges)


def test_only_images_that_fit_into_memory_are_used() -> None:
    student, teacher, pairs = settle(residual_net())
    each = peak_bytes(student.source_graph) + peak_bytes(teacher.source_graph)
    for room, used in ((7 * each, 7), (100 * each, 12), (1, 2)):
        report = refit(student, teacher, pairs, batches_of(5, 4, 3), settings=RefitSettings(most_bytes=room))
        assert report.images == used
