"""The same share everywhere, as little of it as the limits allow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.search.baselines import uniform
from deploycompress.search.baselines.uniform import OFFSETS, VARIANTS, Settings, amount
from deploycompress.search.engine import StopReason
from deploycompress.search.space import Kernel
from tests.search.baselines.searching import limited, searched
from tests.search.toy import Toy, latency_of, make_space

SPACE = make_space()
offsets = st.sampled_from(OFFSETS)


@given(st.floats(0, 1), offsets)
def test_the_share_of_blocks_that_goes_is_the_share_asked_for(sparsity: float, offset: float) -> None:
    candidate = amount(SPACE, sparsity, blocks=1, channels=0, offset=offset)
    assert abs(len(candidate.remove) - 6 * sparsity) <= 0.5 + 1e-9
    assert not candidate.widths


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("count", [2, 3])
def test_blocks_that_go_are_evenly_spaced(count: int, offset: float) -> None:
    removed = amount(SPACE, count / 6, blocks=1, channels=0, offset=offset).remove
    places = [int(name[1:]) for name in removed]
    assert {after - before for before, after in pairwise(places)} == {6 // count}


@given(st.floats(0, 1))
def test_every_width_is_the_nearest_to_the_share_that_stays(sparsity: float) -> None:
    space = replace(SPACE, kernels=(Kernel(layer="b0.2", index=2, sizes=(1, 3)),))
    candidate = amount(space, sparsity, blocks=0, channels=1, offset=0.5)
    for block in range(6):
        width = candidate.widths.get(f"g{block}", 64)
        assert min(abs(other - 64 * (1 - sparsity)) for other in (16, 32, 48, 64)) == abs(width - 64 * (1 - sparsity))
    assert (candidate.kernels.get("b0.2", 3) == 1) == (3 * (1 - sparsity) < 2)


def test_the_first_is_the_least_that_is_foreseen_to_fit() -> None:
    state = uniform.init(SPACE, limited(0.6), settings=Settings(), evaluations=60, seed=0)
    assert uniform.ask(state).candidate == SPACE.candidate(widths={f"g{block}": 32 for block in range(6)})


@pytest.mark.parametrize("limit", [0.3, 0.45, 0.6, 0.8])
def test_for_every_mix_the_least_amount_that_meets_the_limit_is_found(limit: float) -> None:
    outcome = searched(uniform, Settings(), limit=limit, evaluations=200)
    proposed = {entry.proposal.candidate for entry in outcome.trace}
    assert outcome.reason is StopReason.FINISHED
    for blocks, channels, offset in VARIANTS:
        path = [amount(SPACE, n / 100, blocks=blocks, channels=channels, offset=offset) for n in range(1, 101)]
        meeting = [one for one in path if latency_of(one) <= limit and len(one.remove) < 6]
        assert not meeting or meeting[0] in proposed


def test_without_a_limit_every_mix_is_scanned() -> None:
    outcome = searched(uniform, Settings(scan=3), limit=2.0, evaluations=200)
    proposed = {entry.proposal.candidate for entry in outcome.trace}
    for blocks, channels, offset in VARIANTS:
        path = dict.fromkeys(
            amount(SPACE, n / 100, blocks=blocks, channels=channels, offset=offset) for n in range(1, 101)
        )
        assert len(proposed & path.keys()) >= 3
        assert list(path)[-1] in proposed


def test_nothing_is_asked_twice() -> None:
    toy = Toy()
    trace = searched(uniform, Settings(), toy=toy).trace
    assert len({entry.proposal.candidate for entry in trace}) == len(trace) == len(toy.measured)


@pytest.mark.parametrize("name", ["levels", "scan"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name!r} is 0"):
        Settings(**{name: 0})
