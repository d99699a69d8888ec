"""States come back from JSON as they were, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.search.record import SCHEMA, from_json, to_json
from deploycompress.search.space import Candidate, Space
from tests.search.toy import make_space


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    values: tuple[float, ...]
    colour: Colour | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    inner: Inner
    table: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    candidate: Candidate = field(default_factory=Candidate)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("There cannot be fewer than none.")


finite = st.floats(allow_nan=False, allow_infinity=False)
outers = st.builds(
    Outer,
    count=st.integers(0),
    inner=st.builds(Inner, values=st.lists(finite).map(tuple), colour=st.none() | st.sampled_from(Colour)),
    table=st.dictionaries(st.text(), st.tuples(st.integers(), finite)),
    candidate=st.builds(
        Candidate, remove=st.lists(st.text()).map(tuple), widths=st.dictionaries(st.text(), st.integers(1))
    ),
)


@given(outers)
def test_a_record_comes_back_to_the_last_digit(record: Outer) -> None:
    assert from_json(Outer, to_json(record, "engine"), "engine") == record


def test_a_space_comes_back_with_its_table() -> None:
    space = make_space()
    assert from_json(Space, to_json(space, "engine"), "engine") == space


GOOD = json.loads(to_json(Outer(count=1, inner=Inner(values=(0.5,))), "engine"))


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[]", "null", "3", '"text"', "{}"])
def test_what_is_no_record_is_refused_with_the_engines_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"Not a search state of engine: .+; start the search anew"):
        from_json(Outer, text, "engine")


@pytest.mark.parametrize(("schema", "engine"), [(SCHEMA + 1, "engine"), (1, "engine"), (SCHEMA, "other")])
def test_another_version_or_engine_is_refused_with_both(schema: int, engine: str) -> None:
    text = json.dumps({**GOOD, "schema": schema, "engine": engine})
    with pytest.raises(UsageError, match=f"engine '{engine}', version {schema}; this is 'engine', version {SCHEMA}"):
        from_json(Outer, text, "engine")


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"count": "many"}, "count"),
        ({"count": -1}, "fewer than none"),
        ({"inner": {"values": ["x"]}}, r"inner\.values\.0"),
        ({"inner": {"values": [], "colour": "green"}}, r"inner\.colour"),
        ({"inner": None}, "inner"),
    ],
)
def test_a_damaged_field_is_named(state: dict[str, object], where: str) -> None:
    with pytest.raises(UsageError, match=where):
        from_json(Outer, json.dumps({**GOOD, "state": {**GOOD["state"], **state}}), "engine")
