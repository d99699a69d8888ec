"""What makes a network good: how often it is right, or how well it does what its teacher does; higher is better.

Only accuracy is about the world. All others are about the teacher, whose own value is then 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.train.dataset import Answers

Labels = NDArray[np.int64]
Metric = Callable[[Answers, Labels | None], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A batch of images as two networks answered it.

    Attributes:
        outputs: of the network that is judged, an array [B, ...] each.
        labels: true classes [B]; none where nobody knows them.
        answers: the teacher's outputs; none where only the labels count.
    """

    outputs: Answers
    labels: Labels | None
    answers: Answers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What "good" means in a run.

    Attributes:
        name: `accuracy`, `agreement`, `output_match`, or `package.module:function`.
        take: computes it from all batches, in their order.
        metric: what the user's own function gives for outputs and labels; none for the other scores.
    """

    name: str
    take: Callable[[Iterable[Answered]], float]
    metric: Metric | None = None

    @property
    def needs_answers(self) -> bool:
        """Whether students are held against the teacher rather than the labels."""
        return self.name != ACCURACY.name

    @property
    def names_classes(self) -> bool:
        """Whether outputs are read as logits [B, K], of which the largest names the class."""
        return self.name in (ACCURACY.name, AGREEMENT.name)


def accuracy_share(batches: Iterable[Answered]) -> float:
    """Give the share of images whose largest logit is the true class; logits that are not finite are wrong."""
    return _mean([_names(batch.outputs) == batch.labels for batch in batches])


def agreement(batches: Iterable[Answered]) -> float:
    """Give the share of images for which both networks name the same class; logits that are not finite name none."""
    return _mean([_same(_names(batch.outputs), _names(batch.answers or ())) for batch in batches])


def output_match(batches: Iterable[Answered]) -> float:
    """Give 1 / (1 + relative error)."""
    return match_of(relative_error(batches))


def match_of(error: float) -> float:
    """Turn a relative error into a score in [0, 1] that still tells bad students from worse ones."""
    return 1.0 / (1.0 + error)


def relative_error(batches: Iterable[Answered]) -> float:
    """Compute ||student - teacher|| / ||teacher|| over all images, averaged over the outputs of float type.

    An output that the teacher leaves at zero on all images has no relative error and does not count, unless all do.

    Returns:
        Zero or more; infinite where an output is not finite, or where all of the teacher's are zero and the student's
        are not.
    """
    sums: dict[int, list[float]] = {}
    for batch in batches:
        for index, (found, wanted) in enumerate(zip(batch.outputs, batch.answers or (), strict=True)):
            if np.issubdtype(wanted.dtype, np.floating):
                exact, reference = found.astype(np.float64), wanted.astype(np.float64)
                total = sums.setdefault(index, [0.0, 0.0])
                total[0] += float(np.square(exact - reference).sum())
                total[1] += float(np.square(reference).sum())
    if not all(math.isfinite(difference) for difference, _ in sums.values()):
        return math.inf
    alive = [pair for pair in sums.values() if pair[1] > 0] or list(sums.values())
    return sum(_relative(difference, norm) for difference, norm in alive) / len(alive)


def joined(parts: Sequence[Answers]) -> Answers:
    """Join the outputs of batches, each output by itself."""
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _relative(difference: float, norm: float) -> float:
    if norm > 0:
        return math.sqrt(difference / norm)
    return 0.0 if difference == 0 else math.inf


def _names(outputs: Answers) -> NDArray[np.int64]:
    """Give the class of the largest logit, -1 where one is not finite."""
    (logits,) = outputs
    named: NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
    named[~np.isfinite(logits).all(axis=1)] = -1
    return named


def _same(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    both: NDArray[np.bool_] = (found == wanted) & (wanted >= 0)
    return both


def _mean(parts: list[NDArray[np.bool_]]) -> float:
    return float(np.concatenate(parts).mean())


ACCURACY = Score(name="accuracy", take=accuracy_share)
AGREEMENT = Score(name="agreement", take=agreement)
OUTPUT_MATCH = Score(name="output_match", take=output_match)
