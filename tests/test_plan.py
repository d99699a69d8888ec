"""A plan survives JSON, equal plans give equal text, and what is no plan is refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.plan import Plan

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
