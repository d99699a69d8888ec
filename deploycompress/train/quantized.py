"""Quantisation-aware distillation: the student rounds as it will where it ships, and learns to answer all the same.

Weights and activations are rounded in every forward pass, and gradients pass straight through (Jacob et al. 2018,
section 3.2). Scales of weights follow the weights; those of activations stay as calibration found them: learning these,
too (Esser et al. 2020), took a third more time on ResNet-20 and gave answers no more often the teacher's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from deploycompress.network.module import GraphModule
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import Deadline, DistilReport, DistilSettings, OnStep, TaskData
from deploycompress.train.quantized_scales import WeightScales

PEAK_RATE = 3e-5
"""Of AdamW, for a student that has learned what it can: in 120 to 280 steps ResNet-20 came nearer to its teacher at
3e-5 and 7e-5, and went away from it at 1e-4 and 2e-4. One with much to learn wants more: ResNet-20 and -56 that had
lost blocks came as far in 40 to 60 steps at 3e-4 to 1e-3 as by Nesterov's method at the best rate tried for each, 5e-4
and 1e-4; that breaks ResNet-56 at 5e-4."""


def distil_quantized(
    student: GraphModule,
    teacher: nn.Module,
    task: TaskData,
    *,
    settings: DistilSettings,
    generator: torch.Generator,
    deadline: Deadline | None = None,
    initial_accuracy: float | None = None,
    on_step: OnStep | None = None,
) -> DistilReport:
    """Train a student that rounds, in place, and leave it with the best weights and their scales.

    Args:
        student: of a trainable 8-bit graph, as `quantize.static.quantized` makes it; `from_torch` writes it back.
        teacher: network to imitate, in single precision; unchanged.
        task: training and validation images and the normalisation of both networks.
        settings: as for `distil`; rates are adaptive, a peak rate of 0 is `PEAK_RATE`, and the student is not compiled.
        generator: a CPU generator; decides order and augmentation.
        deadline: gives the seconds that remain, or `None` for no limit.
        initial_accuracy: the student's validation accuracy before, rounding and all, when known: its weights then
            compete, too.
        on_step: told after each step.

    Returns:
        What was reached, in how many steps, and why it ended.

    Raises:
        UsageError: nothing limits the run.
    """
    scales = WeightScales(student)
    return distil(
        student,
        teacher,
        task,
        settings=replace(settings, peak_rate=settings.peak_rate or PEAK_RATE, adaptive=True, compiles=False),
        generator=generator,
        deadline=deadline,
        initial_accuracy=initial_accuracy,
        on_step=on_step,
        on_update=scales.update,
    )
