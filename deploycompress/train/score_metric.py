"""A score of the user's own: a function of a network's outputs and the labels, named on the command line."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from deploycompress.capturing.importing import current_folder_importable
from deploycompress.errors import DataError, UsageError
from deploycompress.train.dataset import Answers
from deploycompress.train.score import Answered, Labels, Score, joined
from deploycompress.train.source_factory import FACTORY, FAILURES

FORM = "'package.module:function', a function of the outputs and the labels that gives a number, higher is better"


def load_metric(spec: str) -> Score:
    """Find the function that `--metric` names; the current folder is importable.

    It is called as `function(outputs, labels)`: the outputs for all validation images in order, one array or a tuple of
    several, and the labels or `None`. Students are ranked by how far they fall behind the teacher's own value, relative
    to its size, so the function's scale does not matter.

    Raises:
        DataError: it cannot be imported, or is no function.
        UsageError: the text names none.
    """
    if not FACTORY.fullmatch(spec):
        raise UsageError(f"--metric {spec!r} cannot be understood; expected {FORM}.")
    module_name, _, name = spec.partition(":")
    try:
        with current_folder_importable():
            function = getattr(importlib.import_module(module_name), name)
    except FAILURES as error:
        raise DataError(
            f"The metric {spec!r} cannot be imported: {type(error).__name__}: {error}; "
            "it must be importable from the current folder."
        ) from error
    if not callable(function):
        raise DataError(f"The metric {spec!r} is a {type(function).__name__}; expected a function.")
    return metric_score(spec, function)


def metric_score(name: str, function: Callable[..., Any]) -> Score:
    """Make a score of a function.

    Args:
        name: what messages call it.
        function: of outputs and labels.
    """

    def metric(outputs: Answers, labels: Labels | None) -> float:
        return _called(name, function, outputs, labels)

    def take(batches: Iterable[Answered]) -> float:
        answered = list(batches)
        known = [batch.labels for batch in answered if batch.labels is not None]
        labels = np.concatenate(known) if known else None
        wanted = metric(joined([batch.answers or () for batch in answered]), labels)
        if wanted == 0:
            raise DataError(
                f"The metric {name!r} gives 0 for the teacher, so nothing can be compared with it; check the function, "
                "the data and the normalisation (--normalize)."
            )
        outputs = joined([batch.outputs for batch in answered])
        if not all(np.isfinite(output).all() for output in outputs if np.issubdtype(output.dtype, np.floating)):
            return 0.0  # a student that broke in training is the student's failure, not the function's
        found = metric(outputs, labels)
        return max(0.0, 1.0 - (wanted - found) / abs(wanted))

    return Score(name=name, take=take, metric=metric)


def _called(name: str, function: Callable[..., Any], outputs: Answers, labels: Labels | None) -> float:
    try:
        value = function(outputs[0] if len(outputs) == 1 else outputs, labels)
    except FAILURES as error:
        raise DataError(f"The metric {name!r} failed: {type(error).__name__}: {error}.") from error
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"The metric {name!r} returned {value!r}; expected one finite number.") from error
    if not math.isfinite(number):
        raise DataError(f"The metric {name!r} returned {number}; expected one finite number.")
    return number
