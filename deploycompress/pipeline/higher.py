"""Which layers stay in single precision beside others in 8 bits: those that lose most, as few as will do."""

from __future__ import annotations

from deploycompress.execute.local import LocalEnvironment
from deploycompress.graph import Graph
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.pipeline.int8 import BIAS_CORRECTED, Int8, calibration_images, quickly_in_int8, validation_score
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.margin import stricter
from deploycompress.quantize.bias_correction import bias_corrected
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.sensitivity import sensitivity
from deploycompress.search.reward import meets


def pays(job: Job, environment: LocalEnvironment, single: Graph) -> bool:
    """Whether a student is faster in the run's precision than in single, or breaks a limit in that; measured.

    Where it cannot be measured the precision that was searched for stays.
    """
    try:
        before, after = environment.cost_of(single, is_single=True), environment.cost_of(single)
    except FailedMeasurementError as error:
        job.progress.warning(f"Whether {job.precision} is faster than single precision could not be measured: {error}")
        return True
    is_faster = after["latency_ratio"] < before["latency_ratio"]
    return is_faster or not meets(before, [row for row in job.constraints if "accuracy" not in row.metrics])


def choose_higher(job: Job, environment: LocalEnvironment, single: Graph, found: Int8) -> tuple[str, ...]:
    """Leave layers in single precision until 8 bits cost no more of the score than allowed.

    Layers go by the damage that each does when it alone is quantised, and their number doubles. A mixture that breaks
    a limit on what the network costs, or is no faster than single precision, is no choice, and neither is one that
    scores no better than 8 bits throughout.

    Args:
        job: says how much may be lost.
        environment: measures mixtures.
        single: the student in single precision.
        found: the same in 8 bits throughout.

    Returns:
        Names of the layers' weights without `.weight`; none where 8 bits throughout will do, or nothing helps.
    """
    how, best, chosen = job.settings.quantization, found.score, tuple[str, ...]()
    enough = validation_score(job, single) - how.loss
    if best >= enough:
        return ()
    images, form = calibration_images(job), job.profile.precision.int8
    ranges = find_ranges(found.uncorrected, images, method=found.method)
    order = [layer for layer, _ in sensitivity(found.uncorrected, images[:1], ranges, form)]
    count = 1
    while best < enough and count <= how.most_higher * len(order) and job.clock.left_s != 0:
        higher = tuple(order[:count])
        if not _may_be(job, environment, single, higher):
            break
        source = found.uncorrected
        if BIAS_CORRECTED in found.steps:
            source = bias_corrected(source, images, form, higher=higher)
        score = quickly_in_int8(job, source, method=found.method, higher=higher, images=images).score
        if score > best:
            best, chosen = score, higher
        count *= 2
    return chosen


def _may_be(job: Job, environment: LocalEnvironment, single: Graph, higher: tuple[str, ...]) -> bool:
    try:
        cost = environment.cost_of(single, higher=higher)
        most = environment.cost_of(single, is_single=True)["latency_ratio"]
    except FailedMeasurementError as error:
        job.progress.warning(f"No more layers are left in single precision: {error}")
        return False
    limits = [stricter(row) for row in job.constraints if "accuracy" not in row.metrics]
    return cost["latency_ratio"] < most and meets(cost, limits)
