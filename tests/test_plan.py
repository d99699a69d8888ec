"""A plan survives JSON, equal plans give equal text, and what is no plan is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.plan import Plan
from deploycompress.precision import Precision

KEEP = st.dictionaries(
    st.text(max_size=8), st.sets(st.integers(0, 999), min_size=1, max_size=8).map(lambda s: tuple(sorted(s)))
)


@given(KEEP)
def test_a_plan_survives_json(keep: dict[str, tuple[int, ...]]) -> None:
    assert Plan.from_json(Plan(keep=keep).to_json()) == Plan(keep=keep)


@given(KEEP)
def test_equal_plans_give_equal_text_whatever_the_order(keep: dict[str, tuple[int, ...]]) -> None:
    turned = dict(reversed(keep.items()))
    assert Plan(keep=keep).to_json() == Plan(keep=turned).to_json()


def test_a_plan_knows_its_widths_and_whether_it_is_empty() -> None:
    plan = Plan(keep={"a": (0, 2, 5), "b": (1,)})
    assert plan.widths() == {"a": 3, "b": 1}
    assert not plan.is_empty
    assert Plan().is_empty


@pytest.mark.parametrize("indices", [(), (2, 1), (1, 1), (-1, 0)])
def test_channels_must_be_some_ascending_distinct_and_non_negative(indices: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match="'a'"):
        Plan(keep={"a": indices})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Not a plan"),
        ("[]", "Not a plan"),
        ("{}", "Not a plan"),
        (json.dumps({"schema": 99, "keep": {}}), "schema 99"),
        (json.dumps({"schema": 1, "keep": {}, "cut": {}}), "'cut'"),
        (json.dumps({"schema": 1, "keep": {"a": ["x"]}}), "Not a plan"),
        (json.dumps({"schema": 1, "keep": {"a": []}}), "keeps no channel"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_reason(text: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        Plan.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema":1,"keep":{"a":[' + "9" * 6000 + "]}}",
        '{"schema":true}',
        '{"schema":1.0}',
        '{"schema":1,"keep":{"a":[0],"a":[1]}}',
        '{"schema":1,"keep":{"a":[0.0]}}',
        '{"schema":1,"keep":{"a":5}}',
        '{"schema":1,"remove":"block"}',
        '{"schema":1,"remove":[1]}',
        '{"schema":1,"kernels":{"a":true}}',
        '{"schema":1,"kernels":{"a":0}}',
    ],
)
def test_hostile_plans_are_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.from_json(text)


def test_a_plan_takes_lists_and_numpy_integers_and_is_equal_to_its_twin() -> None:
    plan = Plan(keep={"a": [np.int64(0), 2]}, remove=("c", "b"), kernels={"d": np.int32(3)})  # type: ignore[dict-item]
    twin = Plan(keep={"a": (0, 2)}, remove=("b", "c"), kernels={"d": 3})
    assert plan == twin
    assert hash(plan) == hash(twin)
    assert Plan.from_json(plan.to_json()) == twin


def test_a_plan_does_not_change_with_the_dictionary_it_was_made_from() -> None:
    keep = {"a": (0,)}
    plan = Plan(keep=keep)
    keep["b"] = (1,)
    assert plan.keep == {"a": (0,)}


def test_blocks_and_kernels_travel() -> None:
    plan = Plan(remove=("layer1.0.conv1/residual",), keep={"conv1": (0, 1)}, kernels={"layer2.0.conv1": 1})
    assert Plan.from_json(plan.to_json()) == plan
    assert not plan.is_empty
    with pytest.raises(PlanError, match="twice"):
        Plan(remove=("a", "a"))


def test_a_precision_travels_and_single_precision_is_not_written() -> None:
    plan = Plan(keep={"conv1": (0,)}, precision=Precision.INT8, higher=("fc", "conv1"))
    assert plan.higher == ("conv1", "fc")
    assert Plan.from_json(plan.to_json()) == plan
    assert "precision" not in Plan().to_json()
    assert Plan.from_json('{"schema": 1, "precision": "fp16"}').precision is Precision.FP16


def test_a_precision_alone_leaves_the_structure() -> None:
    assert Plan(precision=Precision.INT8).is_empty


def test_layers_above_single_precision_make_no_sense() -> None:
    with pytest.raises(PlanError, match=r"leaves layer 'fc' in single precision, in which all layers are"):
        Plan(higher=("fc",))


def test_an_unknown_precision_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match=r"precision 'int4'; known are fp32, fp16, int8"):
        Plan.from_json('{"schema": 1, "precision": "int4"}')
