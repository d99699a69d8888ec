"""Devices that send garbage or lie: each is found out, named, and ends in exit code 4."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.errors import MeasureError
from deploycompress.evaluation import Evidence
from deploycompress.graph import graph_from_onnx
from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.conditions import Conditions, Machine
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.node_times import node_times_from
from deploycompress.measuring.process import MeasuringProcess
from deploycompress.measuring.reach.failures import UnreachableError, UnsoundReplyError
from deploycompress.measuring.reach.target import parse_target
from deploycompress.measuring.replies import check_reply
from tests.measuring.networks import conv_net
from tests.measuring.reach import liar
from tests.measuring.reach.asking import SETUP

LATENCY: Message = {
    "command": "latency",
    "setups": [SETUP],
    "kept": [],
    "reference": 0,
    "min_samples": 64,
    "min_rounds": 8,
}


@pytest.fixture
def conditions() -> Conditions:
    """Make those of a liar."""
    return Conditions(
        machine=Machine(**liar.HELLO["machine"]),
        onnxruntime=liar.HELLO["onnxruntime"],
        profile="x86",
        profile_digest="",
        providers=("CPUExecutionProvider",),
        threads=1,
        percentile=90.0,
        confidence=0.95,
        evidence=Evidence.PROXY,
    )


def ask_a_liar(kind: str) -> Message:
    process = MeasuringProcess(parse_target(f"exec:{sys.executable} {Path(liar.__file__)} {kind} {{bootstrap}}"))
    try:
        return process.ask(LATENCY, conv_net(), timeout_seconds=20)
    finally:
        process.close()


def test_an_answer_that_can_be_is_taken() -> None:
    assert len(ask_a_liar("honest")["rounds"][0]) == 64


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("negative", "'samples' is -5, expected above 0 ns"),
        ("zero", "'samples' is 0, expected above 0 ns"),
        ("fraction", "'samples' is 1000.5, expected whole"),
        ("text", "'samples' is '1000', expected whole"),
        ("true", "'samples' is True, expected whole"),
        ("null", "'samples' is None, expected whole"),
        ("too_long", "'samples' is up to 10000000000000 ns, expected no more than"),
        ("empty_round", "'samples' is 0 entries"),
        ("too_few_rounds", "'rounds' is 1 entries, expected as many of each model, at least 8"),
        ("too_few_samples", "'samples' is 8, expected at least 64"),
        ("no_rounds", "'rounds' is 0 entries, expected those of 1 models"),
        ("one_model_too_many", "'rounds' is 2 entries"),
        ("rounds_as_text", "'rounds' is 'many'"),
        ("no_models", "'models' is .*list of 1 objects"),
        ("negative_load", "'load_seconds' is -1.0"),
        ("odd_state", "'temperature_c' is hot"),
        ("state_without_load", r"'state' is \[\], expected frequency_khz, governor"),
        ("newer_state", "'state' is .*'humidity'"),
        ("settled_as_text", "'settled' is yes, expected true or false"),
        ("nothing", "'rounds' is None"),
        ("unknown_refusal", r"\[31mI am tired"),
        ("misses_what_nobody_named", "misses models that were not named"),
        ("misses_for_ever", "asks for models again and again"),
        ("progress_for_ever", "progress again and again"),
        ("nan", "NaN is no number"),
        ("not_json", "no JSON"),
        ("a_list", "no JSON object"),
        ("oversize_header", "over the limit"),
        ("oversize_blob", "bytes of blobs are over"),
        ("chatter", "'Warning: the battery is low' where a frame of the agent was expected"),
    ],
)
def test_a_lie_is_found_out_and_named(kind: str, words: str) -> None:
    with pytest.raises(UnsoundReplyError, match=words) as caught:
        ask_a_liar(kind)
    assert caught.value.exit_code == 4
    assert "\x1b" not in str(caught.value)


def test_an_agent_that_dies_within_a_frame_has_crashed() -> None:
    with pytest.raises(FailedMeasurementError, match="ended with code 0") as caught:
        ask_a_liar("mid_frame")
    assert caught.value.kind is FailureKind.CRASH


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param(
            "odd_signal",
            f"process on .* was ended by signal {liar.ODD_SIGNAL}",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="signals without names are Linux's"),
        ),
        ("hangs_up", "closed its connection without an answer"),
    ],
)
def test_however_an_agent_ends_it_is_told_in_words(kind: str, words: str) -> None:
    with pytest.raises(FailedMeasurementError, match=words) as caught:
        ask_a_liar(kind)
    assert caught.value.kind is FailureKind.CRASH


def rewritten(change: Callable[[onnx.NodeProto], object]) -> Message:
    """Give an answer to `kernel_times` whose rewritten graph has one changed node."""
    node = onnx.helper.make_node(
        "ReorderInput", ["x"], ["y"], name="a", domain="com.microsoft.nchwc", activation="Relu"
    )
    change(node)
    graph = onnx.helper.make_graph([node], "network", [], [])
    return {**KERNEL_TIMES, "attached": [onnx.helper.make_model(graph).SerializeToString()]}


def relabel(node: onnx.NodeProto) -> None:
    node.attribute[0].s = b"\xff\xfe"


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.ClearField("output"),
        lambda node: node.ClearField("input"),
        relabel,
        lambda node: node.MergeFromString(b"\x1a\x02\xff\xfe"),  # its name
        lambda node: node.MergeFromString(b"\x12\x02\xff\xfe"),  # one more output
    ],
)
def test_a_rewritten_graph_that_cannot_be_is_refused(
    change: Callable[[onnx.NodeProto], object], conditions: Conditions
) -> None:
    graph = graph_from_onnx(onnx.load_model_from_string(conv_net()))
    assert node_times_from(graph, rewritten(lambda _: None), conditions).runs == KERNEL_TIMES["runs"]
    with pytest.raises(UnsoundReplyError, match="rewritten graph that are no model"):
        node_times_from(graph, rewritten(change), conditions)


def test_kernels_without_their_graph_may_have_any_name(conditions: Conditions) -> None:
    graph = graph_from_onnx(onnx.load_model_from_string(conv_net()))
    kernel = {"name": "gemm_input_reshape", "op": "Reshape", "microseconds": [1] * 11}
    times = node_times_from(graph, {"runs": 11, "kernels": [kernel]}, conditions)
    assert times.other == {"Reshape": 1.0}


@pytest.mark.parametrize("greeting", ["Welcome to the board", "ok"])
def test_a_greeting_before_the_agent_is_explained(greeting: str) -> None:
    words = f"sh -c 'echo {greeting}; exec {sys.executable} -I -c {{bootstrap_quoted}}'"
    with pytest.raises(UnsoundReplyError, match=rf"'{greeting}' where a frame.*start-up file of that account"):
        MeasuringProcess(parse_target(f"exec:{words}"))


def test_a_command_that_echoes_is_no_agent() -> None:
    with pytest.raises(MeasureError, match="where a frame of the agent was expected"):
        MeasuringProcess(parse_target("exec:sh -c 'cat; true {bootstrap_quoted}'"))


def test_a_command_that_says_nothing_and_ends() -> None:
    with pytest.raises(UnreachableError, match=r"does not start \(ended with code 0"):
        MeasuringProcess(parse_target("exec:true {bootstrap}"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"onnxruntime": 1.31}, "'onnxruntime' is 1.31"),
        ({"onnxruntime": "1.31\n\x1b[2J"}, "printable text"),
        ({"machine": None}, "'machine' is None"),
        ({"machine": {**liar.HELLO["machine"], "cores": 0}}, "'cores' is 0"),
        ({"machine": {**liar.HELLO["machine"], "cpu": "x" * 1000}}, "at most 300"),
        ({"machine": {**liar.HELLO["machine"], "surprise": 1}}, "surprise"),
        ({"cpu_flags": [1]}, "'cpu_flags'"),
        ({"providers": "CPU"}, "'providers'"),
    ],
)
def test_what_a_device_says_of_itself_is_checked(change: Message, words: str) -> None:
    check_reply({"command": "hello"}, liar.HELLO, elapsed_seconds=1)
    with pytest.raises(UnsoundReplyError, match=words):
        check_reply({"command": "hello"}, {**liar.HELLO, **change}, elapsed_seconds=1)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"runs": 11, "kernels": [{"name": "a", "op": "Conv", "microseconds": [1, -1]}]}, "'microseconds'"),
        ({"runs": 11, "kernels": [{"name": "a", "op": "Conv", "microseconds": [10**9]}]}, "'microseconds'"),
        ({"runs": 11, "kernels": [{"name": "a", "op": "Conv", "microseconds": []}]}, "'microseconds'"),
        ({"runs": 10, "kernels": []}, "'runs' is 10"),
        ({"runs": 11, "kernels": {}}, "'kernels'"),
    ],
)
def test_kernel_times_are_checked(reply: Message, words: str) -> None:
    with pytest.raises(UnsoundReplyError, match=words):
        check_reply({"command": "kernel_times", "min_runs": 11}, reply, elapsed_seconds=1)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KERNEL_TIMES: Message = {"runs": 11, "kernels": [{"name": "a", "op": "Conv", "microseconds": [1, 2]}]}


def spoilt(value: Any, data: st.DataObject) -> Any:
    """Put junk at one place of a JSON value."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: spoilt(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], spoilt(value[place], data), *value[place + 1 :]]
    return data.draw(JUNK)


@given(data=st.data())
@settings(deadline=None)
def test_junk_anywhere_in_an_answer_is_refused_or_harmless(data: st.DataObject) -> None:
    request, answer = data.draw(
        st.sampled_from(
            [
                ({**LATENCY, "min_samples": 8}, liar.honest({**LATENCY, "min_samples": 8})),
                ({"command": "hello"}, liar.HELLO),
                ({"command": "kernel_times", "min_runs": 11}, KERNEL_TIMES),
                ({"command": "activation_peak"}, {"bytes": 5}),
            ]
        )
    )
    check_reply(request, answer, elapsed_seconds=1)
    reply = spoilt(answer, data)
    if not isinstance(reply, dict):
        return  # no frame carries it
    try:
        check_reply(request, reply, elapsed_seconds=1)
    except UnsoundReplyError:
        return
    if request["command"] == "latency":
        samples = [sample for part in reply["rounds"] for block in part for sample in block]
        assert all(type(sample) is int and 0 < sample < 2e9 for sample in samples)


@pytest.mark.parametrize("told", [-1, 1.5, True, "many", 2**60])
def test_bytes_are_checked(told: object) -> None:
    for command in ("activation_peak", "peak_rss"):
        with pytest.raises(UnsoundReplyError, match="'bytes'"):
            check_reply({"command": command}, {"bytes": told}, elapsed_seconds=1)
