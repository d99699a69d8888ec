"""What the policies see of a layer must not tell how deep or wide its network is."""

from __future__ import annotations

from dataclasses import replace

from deploycompress.search.n2n.features import (
    DECISION_FEATURES,
    FEATURES,
    decision_features,
    decisions,
    layer_features,
)
from deploycompress.search.space import Dimension, Kernel, Layer, Space
from tests.search.toy import make_space


def test_every_feature_has_a_name_and_a_number() -> None:
    space = make_space()
    rows = layer_features(space)
    assert len(rows) == len(space.layers)
    assert {len(row) for row in rows} == {len(FEATURES)}
    asked = decisions(space, frozenset())
    assert {len(row) + 1 for row in decision_features(space, asked)} == {len(DECISION_FEATURES)}


def test_a_network_of_other_width_looks_the_same() -> None:
    space = make_space()
    wide = replace(space, layers=tuple(replace(layer, outputs=layer.outputs * 8) for layer in space.layers))
    assert layer_features(wide) == layer_features(space)


def test_a_deeper_network_shows_the_same_layers_between_the_same_bounds() -> None:
    kinds = FEATURES.index("place_1")
    shallow, deep = (layer_features(make_space(blocks)) for blocks in (6, 60))
    assert {row[:kinds] for row in shallow} == {row[:kinds] for row in deep}
    assert shallow[0] == deep[0]
    assert shallow[-1] == deep[-1]
    assert all(-1.5 <= value <= 1.5 for row in deep for value in row)


def test_a_skip_connection_is_seen_relative_to_its_length() -> None:
    short = Space(layers=tuple(Layer(name=str(i), kind="conv", skip_start=i, skip_end=3 - i) for i in (1, 2)))
    long = Space(layers=tuple(Layer(name=str(i), kind="conv", skip_start=2 * i, skip_end=6 - 2 * i) for i in (1, 2)))
    assert layer_features(short) == layer_features(long)
    assert layer_features(short)[0] != layer_features(short)[1]


def test_an_unknown_kind_is_other() -> None:
    (row,) = layer_features(Space(layers=(Layer(name="odd", kind="attention"),)))
    assert row[FEATURES.index("is_other")] == 1.0


def test_what_went_is_not_decided_about_and_kernels_follow_their_layer() -> None:
    layers = tuple(Layer(name=name, kind="conv", kernel=5, outputs=32) for name in "abc")
    space = Space(
        layers=layers,
        dimensions=(
            Dimension(group="late", width=32, widths=(16, 32), layers=(2,)),
            Dimension(group="early", width=32, widths=(16, 32), layers=(0, 1)),
            Dimension(group="fixed", width=32, widths=(32,), layers=(1,)),
        ),
        kernels=(Kernel(layer="a", index=0, sizes=(3, 5)), Kernel(layer="b", index=1, sizes=(3, 5))),
    )
    assert [one.name for one in decisions(space, frozenset())] == ["early", "a", "b", "late"]
    assert [one.name for one in decisions(space, frozenset({0}))] == ["early", "b", "late"]
    assert [one.name for one in decisions(space, frozenset({0, 1}))] == ["late"]
    kernel = decision_features(space, decisions(space, frozenset()))[1]
    assert kernel[-1] == 1.0
