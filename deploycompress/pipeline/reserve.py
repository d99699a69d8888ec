"""What the end of a run will take: judging on every image, which happens here, and measuring what ships."""

from __future__ import annotations

import time

import numpy as np

from deploycompress.pipeline.asking import answered_in_runtime
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.ship import shipping_seconds
from deploycompress.precision import Precision

TIMED_IMAGES = 100


def seconds_an_image(job: Job) -> float:
    """Time the teacher in ONNX Runtime on this machine, which judges whatever the device is, on some images."""
    some = job.task.validation.take(np.arange(min(TIMED_IMAGES, len(job.task.validation))))
    model = job.teacher.to_bytes()
    started = time.monotonic()
    for _ in answered_in_runtime(model, some, job.task.normalization):
        pass
    return (time.monotonic() - started) / len(some)


def final_seconds(job: Job, image_s: float) -> float:
    """Foresee what judging and measuring the shipped model takes, for a student that is no slower than its teacher.

    Args:
        job: says on which images.
        image_s: what the teacher takes for one.
    """
    held_out, validation = len(job.held_out.data) if job.held_out else 0, len(job.task.validation)
    images = 2 * held_out + (1 if held_out else 2) * validation
    seconds = shipping_seconds(job.settings.ship, job.profile)
    if job.precision is not Precision.FP32:  # both networks in the other precision
        images += 2 * (held_out or validation)
        seconds += 2 * job.settings.ship.seconds
    return images * image_s + seconds
