"""What an evaluation on this machine may cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploycompress.precision import Precision
from deploycompress.profile_precision import Int8Format
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.short_course import CourseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What an evaluation may cost.

    Attributes:
        recalibration_images: images that give a cut student its batch norm statistics.
        refit_images: images that the layers of a student are fitted on before it is trained; 0 for recalibration alone.
        criterion: which channels matter.
        scoring_images: images that channels are scored on; 100 in RL-Pruner.
        measure_seconds: time for one latency measurement.
        anchor_seconds: time for measuring the teacher in the students' precision beside that in single precision.
        anchor_starts: fresh processes for it.
        measures_rss: whether resident memory is taken, too, which starts two processes for each student.
        course: how students are distilled on their way up the ladder.
        precision: that students ship in, and so are measured in.
        form: of 8-bit graphs on the device.
        seed: of everything random.
    """

    recalibration_images: int = 1024
    refit_images: int = 1024
    criterion: Criterion = Criterion.RECONSTRUCTION
    scoring_images: int = 100
    measure_seconds: float = 0.5
    anchor_seconds: float = 10.0
    anchor_starts: int = 7
    measures_rss: bool = False
    course: CourseSettings = field(default_factory=CourseSettings)
    precision: Precision = Precision.FP32
    form: Int8Format = field(default_factory=Int8Format)
    seed: int = 0
