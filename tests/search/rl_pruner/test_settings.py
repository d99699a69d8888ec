"""Settings are the paper's, are checked by name, and shrink to fit what a search may cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.search.rl_pruner.settings import RlPrunerSettings, merge_steps, scale_to
from deploycompress.search.schedules import Decay
from deploycompress.search.space import Dimension, Space, allowed_widths


def test_the_defaults_are_the_papers() -> None:
    chosen = RlPrunerSettings()
    assert (chosen.noise_variance, chosen.step_size, chosen.discount, chosen.clip_ratio) == (0.04, 0.1, 0.9, 0.2)
    assert (chosen.sample_steps, chosen.samples, chosen.stages) == (1, 10, 10)
    assert (chosen.noise_decay, chosen.cuts_best) == (Decay.CONSTANT, False)
    assert (chosen.exploration, chosen.exploration_decay, chosen.exploration_share) == (0.4, Decay.COSINE, 0.1)


def make_space(widths: list[int], quantum: int) -> Space:
    return Space(
        dimensions=tuple(
            Dimension(group=f"g{number}", width=width, widths=allowed_widths(width, quantum))
            for number, width in enumerate(widths)
        )
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("stages", 0), ("samples", -1), ("sample_steps", 0), ("buffer_size", 0),
        ("step_sparsity", 0.0), ("step_sparsity", 1.1), ("clip_ratio", 0.0), ("clip_ratio", 1.0),
        ("noise_variance", 0.0), ("noise_variance", math.inf), ("step_size", -0.1), ("discount", 1.1),
        ("exploration", -0.1), ("exploration", math.nan), ("exploration_share", 2.0),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_named(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"'{field}' is {value}"):
        RlPrunerSettings(**{field: value})  # type: ignore[arg-type]


def test_a_tree_has_a_power_of_samples_per_time_step() -> None:
    assert RlPrunerSettings(samples=3, sample_steps=3).tree_size == 3 + 9 + 27
    assert RlPrunerSettings(steps=2, stages=5, samples=4).evaluations == 2 * (5 * 4 + 1)


@given(st.integers(2, 9000))
def test_a_scaled_search_fits_and_aims_at_the_same_sparsity(evaluations: int) -> None:
    scaled = scale_to(RlPrunerSettings(), evaluations)
    assert scaled.evaluations <= evaluations
    assert scaled.steps * scaled.step_sparsity == pytest.approx(0.75)


def test_a_search_that_fits_is_left_alone() -> None:
    assert scale_to(RlPrunerSettings(), 10**6) == RlPrunerSettings()


def test_a_search_of_one_evaluation_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2"):
        scale_to(RlPrunerSettings(), 1)


@given(st.integers(1, 16), st.integers(1, 100), st.floats(0.002, 0.01))
def test_merged_steps_show_in_the_widths_and_keep_the_sparsity(quantum: int, steps: int, sparsity: float) -> None:
    chosen = RlPrunerSettings(steps=steps, step_sparsity=sparsity)
    merged = merge_steps(chosen, make_space([32, 64, 64], quantum))
    assert merged.steps * merged.step_sparsity == pytest.approx(steps * sparsity)
    assert merged.steps == 1 or merged == chosen or merged.step_sparsity * 160 >= 2 * quantum - 1e-9


def test_steps_that_are_large_enough_are_left_alone() -> None:
    chosen = RlPrunerSettings(steps=10, step_sparsity=0.1)
    assert merge_steps(chosen, make_space([64, 64, 64], 8)) == chosen
