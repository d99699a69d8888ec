import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from deploycompress.quantize.histogram import BINS, CODES, MagnitudeHistogram, entropy_limit, percentile_limit


def histogram(*arrays: np.ndarray) -> MagnitudeHistogram:
    found = MagnitudeHistogram()
    for array in arrays:
        found = found.with_values(array.astype(np.float32))
    return found


def test_counts_are_numpys() -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    found = histogram(values)
    wanted, _ = np.histogram(np.abs(values), bins=BINS, range=(0, np.abs(values).max()))

    assert found.counts.sum() == 5000
    assert np.abs(found.counts - wanted).sum() <= 20, "values on an edge may fall on either side of it"


def test_histogram_grows_with_what_it_sees() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.uniform(0, 1, 1000), rng.uniform(0, 10, 1000)
    found = histogram(small, large)
    limit = float(np.abs(small.astype(np.float32)).max())

    assert found.counts.sum() == 2000
    assert found.limit == pytest.approx(16 * limit)
    both = np.concatenate([small, large])
    at_one = np.cumsum(found.counts)[int(1 / found.limit * BINS)]
    assert at_one == pytest.approx((both < 1).sum(), abs=10)


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e37])
def test_values_of_any_size_are_counted(size: float) -> None:
    values = np.random.default_rng(0).uniform(0.1, 1, 1000) * size

    assert histogram(values).counts.sum() == 1000
    assert percentile_limit(histogram(values), 50) == pytest.approx(0.55 * size, rel=0.1)


def test_zeros_are_left_out() -> None:
    assert histogram(np.zeros(10)).counts.sum() == 0
    assert histogram(np.asarray([0.0, 0.0, 1.0])).counts.sum() == 1


def test_percentile_is_numpys() -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    found = percentile_limit(histogram(values), 99)

    assert found == pytest.approx(np.percentile(np.abs(values), 99), abs=2 * np.abs(values).max() / BINS)


def test_percentile_is_onnxruntimes() -> None:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    theirs = HistogramCollector("percentile", True, BINS, CODES, 99.0, "same")
    theirs.collect_absolute_value({"t": values})
    limit = theirs.compute_percentile()["t"][1]

    assert percentile_limit(histogram(values), 99) == pytest.approx(float(limit), rel=0.002)


def test_entropy_cuts_a_long_tail_and_keeps_a_flat_distribution() -> None:
    rng = np.random.default_rng(0)
    tailed = np.concatenate([rng.standard_normal(100_000), [40.0]])
    flat = rng.uniform(-1, 1, 100_000)

    assert 2 < entropy_limit(histogram(tailed)) < 8
    assert entropy_limit(histogram(flat)) > 0.9


def test_entropy_limit_is_a_slow_plain_loops() -> None:
    values = np.random.default_rng(3).laplace(size=20_000)
    found = histogram(values)

    losses = {cut: plain_divergence(found.counts.tolist(), cut) for cut in range(CODES, BINS + 1, BINS // CODES)}

    assert entropy_limit(found) == pytest.approx(found.limit * min(losses, key=losses.__getitem__) / BINS)


def plain_divergence(counts: list[int], cut: int) -> float:
    """Migacz 2017, as its pseudo code reads."""
    reference = [float(count) for count in counts[:cut]]
    reference[-1] += sum(counts[cut:])
    spread = [0.0] * cut
    for code in range(CODES):
        bins = range(code * cut // CODES, (code + 1) * cut // CODES)
        occupied = [index for index in bins if counts[index]]
        for index in occupied:
            spread[index] = sum(counts[i] for i in bins) / len(occupied)
    total, kept = sum(reference), sum(spread)
    return sum(
        p / total * float(np.log((p / total) / max(q / kept, 1e-9)))
        for p, q in zip(reference, spread, strict=True)
        if p
    )
