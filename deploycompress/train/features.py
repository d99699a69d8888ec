"""Where a student shall compute what its teacher computes on the way, and how far it is from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from deploycompress.graph import Graph
from deploycompress.train.layer_pair import LayerPair

_LEAST_SQUARE = 1e-12  # of a feature that the teacher leaves at zero


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTap:
    """One value of both networks.

    Attributes:
        student: its name in the student.
        teacher: its name in the teacher.
        channels: which of the teacher's channels, on axis 1, the student still has, int64, shape [C].
    """

    student: str
    teacher: str
    channels: torch.Tensor


def choose_taps(pairs: Sequence[LayerPair], teacher: Graph) -> tuple[FeatureTap, ...]:
    """Take what the layers read that lower the resolution, and what the last layer reads.

    These are the ends of a network's stages, which every network has and few layers separate (Romero et al. 2015 match
    one such hint, Heo et al. 2019 all of them).

    Args:
        pairs: layers of both networks in the order in which they run.
        teacher: gives the shapes.
    """
    shapes, inputs = teacher.shapes, {port.name for port in teacher.inputs}
    # what has its channels on another axis than 1 is left out: a product on [N, T, C]
    pairs = [pair for pair in pairs if len(shapes[pair.teacher_input]) in (2, 4)]
    ends = [pair for pair in pairs if shapes[pair.teacher_input][2:] != shapes[pair.teacher_output][2:]]
    taps = {
        pair.student_input: FeatureTap(
            student=pair.student_input, teacher=pair.teacher_input, channels=torch.from_numpy(pair.inputs)
        )
        for pair in (*ends, *pairs[-1:])
        if pair.teacher_input not in inputs
    }
    return tuple(taps.values())


def features_loss(
    taps: Sequence[FeatureTap], student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Average over the taps the squared error relative to the teacher's mean square.

    Args:
        taps: at least one.
        student: values by name, shape [B, C, ...].
        teacher: values by name, shape [B, K, ...].

    Returns:
        A scalar in float32.
    """
    errors = []
    for tap in taps:
        target = teacher[tap.teacher].float().index_select(1, tap.channels.to(teacher[tap.teacher].device))
        error = (student[tap.student].float() - target).square().mean()
        errors.append(error / target.square().mean().clamp_min(_LEAST_SQUARE))
    return torch.stack(errors).mean()
