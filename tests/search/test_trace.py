"""Evaluations as lines: nothing is lost on the way, and damage is named."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Kind, Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.space import Candidate
from deploycompress.search.trace import from_line, read_trace, to_line

names = st.text(max_size=12)
numbers = st.floats(allow_nan=False)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    kept = st.sets(st.integers(0, 300), min_size=1, max_size=5).map(lambda channels: tuple(sorted(channels)))
    return Plan(
        remove=tuple(draw(st.sets(names, max_size=3))),
        keep=draw(st.dictionaries(names, kept, max_size=3)),
        kernels=draw(st.dictionaries(names, st.integers(1, 7), max_size=3)),
    )


@st.composite
def entries(draw: st.DrawFn) -> TraceEntry:
    candidate = Candidate(
        remove=tuple(draw(st.lists(names, max_size=3))),
        widths=draw(st.dictionaries(names, st.integers(1, 512), max_size=3)),
        kernels=draw(st.dictionaries(names, st.integers(1, 7), max_size=3)),
    )
    proposal = Proposal(
        candidate=candidate,
        kind=draw(st.sampled_from(Kind)),
        progress=draw(st.floats(0, 1)),
        step=draw(st.integers(0, 1000)),
        needs_accuracy=draw(st.booleans()),
    )
    evaluation = Evaluation(
        metrics=draw(st.dictionaries(st.sampled_from(["accuracy", "latency_ms", "params", "x"]), numbers)),
        teacher_accuracy=draw(numbers),
        failure=draw(names),
        seconds=draw(st.dictionaries(names, finite, max_size=3)),
        climb=tuple(draw(st.lists(numbers, max_size=3))),
    )
    return TraceEntry(
        key=draw(names), proposal=proposal, plan=draw(plans()), evaluation=evaluation, reward=draw(finite)
    )


def entry(**metrics: float) -> TraceEntry:
    return TraceEntry(
        key="k",
        proposal=Proposal(candidate=Candidate(remove=("b1",), widths={"g": 16}), step=2),
        plan=Plan(remove=("b1",), keep={"g": (0, 3)}),
        evaluation=Evaluation(metrics=metrics, teacher_accuracy=0.95, seconds={"measure": 1.5, "train": 2.0}),
        reward=0.75,
    )


@given(entries(), st.integers(0, 10_000))
def test_a_line_gives_back_what_was_written(original: TraceEntry, index: int) -> None:
    line = to_line(index, original)
    assert "\n" not in line
    assert from_line(line) == original


@given(st.lists(entries(), max_size=4))
def test_a_trace_gives_back_every_evaluation_in_order(originals: list[TraceEntry]) -> None:
    assert read_trace([to_line(index, one) for index, one in enumerate(originals)]) == tuple(originals)


def test_a_line_says_what_the_documentation_promises() -> None:
    record = json.loads(to_line(7, entry(accuracy=0.9, latency_ms=4.0, latency_ratio=0.5)))
    assert record["index"] == 7
    assert Plan.from_json(json.dumps(record["plan"])) == Plan(remove=("b1",), keep={"g": (0, 3)})
    assert (record["reward"], record["accuracy"]) == (0.75, 0.9)
    assert record["measurement"] == {"latency_ms": 4.0, "latency_ratio": 0.5}
    assert record["seconds"] == {"total": 3.5, "by_stage": {"measure": 1.5, "train": 2.0}}


def test_an_accuracy_that_was_not_taken_is_null_and_stays_unknown() -> None:
    line = to_line(0, entry(latency_ratio=0.5))
    assert json.loads(line)["accuracy"] is None
    assert from_line(line).evaluation.accuracy is None


def _refuse(constant: str) -> object:
    raise AssertionError(constant)


def test_what_is_not_finite_is_written_as_text_and_comes_back() -> None:
    line = to_line(0, entry(accuracy=math.nan, latency_ms=math.inf, x=-math.inf))
    record = json.loads(line, parse_constant=_refuse)
    assert (record["accuracy"], record["measurement"]) == ("nan", {"latency_ms": "inf", "x": "-inf"})
    back = from_line(line).evaluation
    assert math.isnan(back.metrics["accuracy"])
    assert (back.metrics["latency_ms"], back.metrics["x"]) == (math.inf, -math.inf)
    assert back.is_degenerate


LINE = to_line(0, entry(accuracy=0.9, latency_ms=4.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "."),
        ("\x00\x00", "JSON"),
        (LINE[:-5], "JSON"),
        (LINE + LINE, "JSON"),
        (LINE.replace("0.75", "NaN"), "reward"),
        (LINE.replace("0.75", '"high"'), "reward"),
        (LINE.replace("0.75", "true"), "reward"),
        (LINE.replace('"kind":"sample"', '"kind":"guess"'), "kind"),
        (LINE.replace('"schema":1', '"schema":9'), "schema 9"),
        (LINE.replace("[0,3]", "[3,0]"), "ascending"),
        (LINE.replace('"key"', '"clé"'), "key"),
        (LINE.replace('{"index"', '{"more":1,"index"'), "unknown key 'more'"),
    ],
)
def test_damage_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"Line 3 of the trace.*" + said):
        from_line(text, 3)


def test_a_missing_line_is_damage() -> None:
    with pytest.raises(UsageError, match="Line 2 of the trace is evaluation 2, expected 1"):
        read_trace([to_line(0, entry()), to_line(2, entry())])
