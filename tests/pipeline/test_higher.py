"""Which layers stay in single precision, chosen by real measurements and real images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.measuring.devices import open_devices
from deploycompress.pipeline.higher import choose_higher
from deploycompress.pipeline.int8 import quickly_in_int8, validation_score
from deploycompress.pipeline.job import Job, prepare
from deploycompress.precision import Precision
from deploycompress.quantize.layers import layers
from deploycompress.surgery.shipped import shipped_form
from tests.digits import DigitsNet, trained_digits_net, unequal
from tests.pipeline.test_request_file import REQUEST

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")


@pytest.fixture(scope="module")
def spoilt() -> DigitsNet:
    return unequal(trained_digits_net(width=64))


@contextmanager
def opened(network: DigitsNet, *settings: str, limit: str) -> Iterator[tuple[Job, LocalEnvironment]]:
    job = prepare(
        replace(
            REQUEST, source=network, data="digits#train", test_data=None, normalize=None, precision="auto",
            constraints=(limit,), search="joint", policy=None, settings=settings, targets=(),
            input_shape=(1, 1, 8, 8),
        )
    )  # fmt: skip
    how = LocalSettings(precision=Precision.INT8, form=job.profile.precision.int8)
    with open_devices(job.profile, (), job.progress.warning) as devices:
        yield job, LocalEnvironment(
            job.teacher, job.channels, job.offered, task=job.task, meter=devices, settings=how
        )  # fmt: skip


def test_what_spoils_8_bits_stays_in_single_precision(spoilt: DigitsNet) -> None:
    with opened(spoilt, "quantization.loss=0.01", "quantization.most_higher=1", limit="params <= 1e9") as (job, at):
        single = shipped_form(job.teacher)
        found = quickly_in_int8(job, single)
        higher = choose_higher(job, at, single, found)

        assert found.score < validation_score(job, single) - 0.01
        assert 0 < len(higher) < len(layers(single))
        assert quickly_in_int8(job, single, higher=higher).score > found.score


def test_all_go_to_8_bits_where_that_loses_no_more_than_allowed(spoilt: DigitsNet) -> None:
    with opened(spoilt, "quantization.loss=1", limit="params <= 1e9") as (job, at):
        single = shipped_form(job.teacher)
        assert choose_higher(job, at, single, quickly_in_int8(job, single)) == ()


def test_a_mixture_that_breaks_a_limit_is_no_choice(spoilt: DigitsNet) -> None:
    with opened(spoilt, "quantization.loss=0", limit="latency_ratio <= 0.01") as (job, at):
        single = shipped_form(job.teacher)
        assert choose_higher(job, at, single, quickly_in_int8(job, single)) == ()
