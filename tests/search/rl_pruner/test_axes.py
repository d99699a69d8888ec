"""One distribution over widths and blocks: a width of zero is the removal of the innermost block around it."""

from __future__ import annotations

from deploycompress.search.rl_pruner.axes import Axis, axes_of, candidate_at
from deploycompress.search.space import Dimension, Layer, Removal, Space
from tests.search.toy import make_space

SPACE = Space(
    layers=tuple(Layer(name=f"l{index}", kind="conv", outputs=outputs) for index, outputs in enumerate((8, 16, 16, 6))),
    removals=(
        Removal(block="outer", layers=(0, 1, 2)),
        Removal(block="inner", layers=(1, 2)),
        Removal(block="alone", layers=(0, 3)),
    ),
    dimensions=(
        Dimension(group="narrow", width=16, widths=(16,), layers=(1,)),
        Dimension(group="across", width=8, widths=(4, 8), layers=(2, 3)),
        Dimension(group="fixed", width=8, widths=(8,), layers=(2, 3)),
        Dimension(group="free", width=8, widths=(4, 8), layers=(0,)),
    ),
)


def test_a_group_inside_a_block_may_go_to_zero_and_one_across_its_border_may_not() -> None:
    assert axes_of(SPACE, removes_blocks=True) == (
        Axis(widths=(0, 16), group="narrow", block="inner"),
        Axis(widths=(4, 8), group="across"),
        Axis(widths=(0, 4, 8), group="free", block="alone"),
        Axis(widths=(0, 13), block="outer"),  # (8 + 16 + 16) / 3
    )


def test_without_removal_only_free_groups_have_an_axis() -> None:
    assert [axis.group for axis in axes_of(SPACE, removes_blocks=False)] == ["across", "free"]
    assert not any(axis.block for axis in axes_of(SPACE, removes_blocks=False))


def test_zero_removes_the_block_and_says_nothing_of_its_group() -> None:
    axes = axes_of(SPACE, removes_blocks=True)
    assert candidate_at(SPACE, axes, (0, 4, 8, 13)) == SPACE.candidate(remove=["inner"], widths={"across": 4})
    assert candidate_at(SPACE, axes, (16, 8, 8, 0)) == SPACE.candidate(remove=["outer"])
    assert candidate_at(SPACE, axes, (16, 8, 8, 13)).is_empty


def test_every_group_of_the_toy_can_take_its_block_along() -> None:
    axes = axes_of(make_space(), removes_blocks=True)
    assert [(axis.group, axis.block, axis.widths) for axis in axes] == [
        (f"g{number}", f"b{number}", (0, 16, 32, 48, 64)) for number in range(6)
    ]
