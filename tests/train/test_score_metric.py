"""The user's own score: found, called, and refused with its name where it gives no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import DataError, UsageError
from deploycompress.train.score import Answered
from deploycompress.train.score_metric import load_metric, metric_score

CODE = """
import numpy as np

def right(outputs, labels):
    return float((outputs.argmax(1) == labels).mean())

def minus_size(outputs, labels):
    assert labels is None
    return -float(np.abs(outputs[0]).mean() + np.abs(outputs[1]).mean())

def undecided(outputs, labels):
    return float("nan")

def broken(outputs, labels):
    raise ValueError("the wrong kind of outputs")

def wordy(outputs, labels):
    return "good"

def nothing(outputs, labels):
    return 0

number = 3
"""


@pytest.fixture(autouse=True)
def _own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metric_for_test.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


def batch(outputs: list[float], answers: list[float]) -> Answered:
    def logits(values: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.array([[value, 0.0] for value in values], np.float32)

    return Answered(outputs=(logits(outputs),), labels=np.zeros(len(outputs), np.int64), answers=(logits(answers),))


def test_students_are_ranked_by_how_far_they_fall_behind_the_teacher() -> None:
    score = load_metric("own_metric_for_test:right")
    batches = [batch([1, -1, 1], [1, 1, 1]), batch([-1], [-1])]
    assert score.take(batches) == pytest.approx((2 / 4) / (3 / 4))
    assert score.metric is not None
    assert score.metric(batches[0].outputs, batches[0].labels) == pytest.approx(2 / 3)


def test_a_student_that_gives_no_numbers_is_worth_nothing() -> None:
    assert load_metric("own_metric_for_test:right").take([batch([1, float("nan")], [1, 1])]) == 0.0


def test_a_score_below_zero_ranks_as_well() -> None:
    def made(size: float, answer: float) -> list[Answered]:
        parts = tuple(np.full((2, 1), value, np.float32) for value in (size, answer))
        return [Answered(outputs=(parts[0], parts[0]), labels=None, answers=(parts[1], parts[1]))]

    score = load_metric("own_metric_for_test:minus_size")
    assert score.take(made(1, 1)) == 1.0
    assert score.take(made(1.5, 1)) == pytest.approx(0.5)
    assert score.take(made(9, 1)) == 0.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("undecided", "'own_metric_for_test:undecided' returned nan"),
        ("broken", "'own_metric_for_test:broken' failed: ValueError: the wrong kind of outputs"),
        ("wordy", "'own_metric_for_test:wordy' returned 'good'"),
        ("nothing", "'own_metric_for_test:nothing' gives 0 for the teacher"),
    ],
)
def test_what_is_no_number_to_compare_with_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_metric(f"own_metric_for_test:{name}").take([batch([1], [1])])


def test_a_function_that_is_not_there_is_refused() -> None:
    for spec in ("own_metric_for_test:missing", "no.such.package:function"):
        with pytest.raises(DataError, match="cannot be imported"):
            load_metric(spec)
    with pytest.raises(DataError, match="is a int; expected a function"):
        load_metric("own_metric_for_test:number")
    with pytest.raises(UsageError, match=r"expected 'package\.module:function'"):
        load_metric("own_metric_for_test.right")


def test_a_function_in_hand_serves_as_well() -> None:
    assert metric_score("size", lambda outputs, _: abs(outputs).sum()).take([batch([2], [4])]) == 0.5
