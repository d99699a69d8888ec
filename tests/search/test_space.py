"""What may be taken is kept in one normal form, and nothing else is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.search.space import (
    Candidate,
    Dimension,
    Kernel,
    Layer,
    Removal,
    Space,
    allowed_widths,
    snap,
)

LAYERS = tuple(Layer(name=f"layer{index}", kind="conv", kernel=3) for index in range(4))
SPACE = Space(
    layers=LAYERS,
    removals=(Removal(block="front", layers=(0, 1)), Removal(block="back", layers=(2,))),
    dimensions=(
        Dimension(group="inside", width=8, widths=(4, 8), layers=(0,)),
        Dimension(group="shared", width=8, widths=(4, 8), layers=(1, 3)),
        Dimension(group="fixed", width=3, widths=(3,), layers=(3,)),
    ),
    kernels=(Kernel(layer="layer1", index=1, sizes=(1, 3)), Kernel(layer="layer3", index=3, sizes=(1, 3))),
)


@pytest.mark.parametrize(
    ("width", "quantum", "expected"),
    [(20, 8, (8, 16, 20)), (16, 8, (8, 16)), (8, 8, (8,)), (3, 8, (3,)), (4, 1, (1, 2, 3, 4))],
)
def test_allowed_widths_are_the_multiples_below_and_the_width(
    width: int, quantum: int, expected: tuple[int, ...]
) -> None:
    assert allowed_widths(width, quantum) == expected


@given(st.floats(-10, 100), st.sets(st.integers(1, 90), min_size=1))
def test_snapping_gives_the_nearest_and_of_two_the_wider(width: float, allowed: set[int]) -> None:
    nearest = min(abs(width - one) for one in allowed)
    assert snap(width, sorted(allowed)) == max(one for one in allowed if abs(width - one) == nearest)


def test_a_candidate_is_free_of_what_changes_nothing() -> None:
    candidate = SPACE.candidate(
        remove=["front", "front"],
        widths={"inside": 4, "shared": 4, "fixed": 3},
        kernels={"layer1": 1, "layer3": 3},
    )
    assert candidate == Candidate(remove=("front",), widths={"shared": 4})


def test_full_sizes_are_the_teacher() -> None:
    full = SPACE.candidate(widths={"inside": 8, "shared": 8}, kernels={"layer1": 3})
    assert full.is_empty
    assert full == Candidate()


choices = st.tuples(
    st.lists(st.sampled_from(["front", "back"])),
    st.dictionaries(st.sampled_from(["inside", "shared"]), st.sampled_from([4, 8])),
    st.dictionaries(st.sampled_from(["layer1", "layer3"]), st.sampled_from([1, 3])),
)


@given(choices)
def test_the_normal_form_is_its_own(chosen: tuple[list[str], dict[str, int], dict[str, int]]) -> None:
    remove, widths, kernels = chosen
    once = SPACE.candidate(remove=remove, widths=widths, kernels=kernels)
    assert SPACE.candidate(remove=once.remove, widths=once.widths, kernels=once.kernels) == once
    assert once.remove == tuple(sorted(set(remove)))


@given(choices, choices)
def test_equal_candidates_and_only_those_have_the_same_text_and_hash(
    one: tuple[list[str], dict[str, int], dict[str, int]], other: tuple[list[str], dict[str, int], dict[str, int]]
) -> None:
    first, second = (SPACE.candidate(remove=c[0], widths=c[1], kernels=c[2]) for c in (one, other))
    assert (first == second) == (first.to_json() == second.to_json())
    assert first != second or hash(first) == hash(second)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"remove": ["middle"]}, "Block 'middle' cannot be removed"),
        ({"widths": {"inside": 5}}, r"Group 'inside' cannot have 5 channels; allowed: \(4, 8\)"),
        ({"widths": {"nothing": 4}}, "Group 'nothing' cannot have 4 channels; allowed: none, the group is unknown"),
        ({"kernels": {"layer1": 2}}, r"The kernel of 'layer1' cannot have extent 2; allowed: \(1, 3\)"),
        ({"kernels": {"layer0": 1}}, "The kernel of 'layer0' cannot have extent 1; allowed: none"),
    ],
)
def test_what_the_space_does_not_have_is_refused(how: dict[str, dict[str, int]], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        SPACE.candidate(**how)  # type: ignore[arg-type]


def test_only_dimensions_with_a_choice_are_free() -> None:
    assert [dimension.group for dimension in SPACE.free] == ["inside", "shared"]


def test_a_space_is_empty_without_any_choice() -> None:
    fixed = Dimension(group="fixed", width=3, widths=(3,))
    assert Space(layers=LAYERS, dimensions=(fixed,)).is_empty
    assert not SPACE.is_empty


def test_the_layers_of_blocks_go_with_them() -> None:
    assert SPACE.gone(()) == frozenset()
    assert SPACE.gone(("front", "back")) == {0, 1, 2}


@pytest.mark.parametrize("widths", [(), (0, 8), (8, 4), (4, 4, 8), (4, 6)])
def test_widths_that_do_not_ascend_to_the_teachers_are_refused(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Group 'g'"):
        Dimension(group="g", width=8, widths=widths)


def test_savings_are_given_for_every_width() -> None:
    with pytest.raises(ValueError, match="2 widths and 1 savings"):
        Dimension(group="g", width=8, widths=(4, 8), savings=({},))


def test_a_name_that_appears_twice_is_refused() -> None:
    twice = Removal(block="front", layers=(0,))
    with pytest.raises(ValueError, match="block appears twice"):
        Space(layers=LAYERS, removals=(twice, twice))
