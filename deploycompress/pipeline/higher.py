"""Which layers stay in single precision beside others in 8 bits: those that lose most, as few as will do."""

from __future__ import annotations

from deploycompress.execute.local import LocalEnvironment
from deploycompress.graph import Graph
from deploycompress.pipeline.int8 import calibration_images, quickly_in_int8, validation_score
from deploycompress.pipeline.job import Job
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.sensitivity import sensitivity
from deploycompress.search.reward import meets


def choose_higher(job: Job, environment: LocalEnvironment, single: Graph) -> tuple[str, ...]:
    """Leave layers in single precision until 8 bits cost no more of the score than allowed.

    Layers go by the damage that each does when it alone is quantised, and their number doubles. A mixture that breaks
    a limit on what the network costs is no choice, and neither is one that scores no better than 8 bits throughout.

    Returns:
        Names of the layers' weights without `.weight`; none where 8 bits throughout will do, or nothing helps.
    """
    how = job.settings.quantization
    enough = validation_score(job, single) - how.loss
    best, chosen = quickly_in_int8(job, single).score, tuple[str, ...]()
    if best >= enough:
        return ()
    images = calibration_images(job)
    form = job.profile.precision.int8
    damage = sensitivity(single, images[:1], find_ranges(single, images), form)
    order = [layer for layer, _ in damage]
    limits = [row for row in job.constraints if "accuracy" not in row.metrics]
    count = 1
    while count <= how.most_higher * len(order):
        higher = tuple(order[:count])
        if not meets(environment.cost_of(single, higher=higher), limits):
            break
        score = quickly_in_int8(job, single, higher=higher).score
        if score > best:
            best, chosen = score, higher
        if best >= enough:
            break
        count *= 2
    return chosen
