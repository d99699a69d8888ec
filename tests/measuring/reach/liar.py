"""An agent that does not tell the truth. Started as `liar.py KIND BOOTSTRAP`; the host sees a process like any other.

It hears the host's requests with the real frames, answers `hello` as it should, and everything else as KIND says.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from deploycompress.measuring.agent.frames import MARK, PREFIX, TO_AGENT, Message, frame_parts, read_frame

MACHINE: Message = dict.fromkeys(("id", "arch", "board", "cpu", "system", "governor", "power_mode"), "")
HELLO: Message = {"onnxruntime": "1.31.1", "machine": {**MACHINE, "cores": 2}, "cpu_flags": []}
ODD_SIGNAL = 40  # of those without a name
STATE: Message = {
    "governor": None,
    "frequency_khz": None,
    "temperature_c": None,
    "throttled": None,
    "load_average": 0.5,
}


def honest(request: Message) -> Message:
    """Answer a latency request with numbers nobody can object to."""
    model = {"placement": {"CPUExecutionProvider": 3}, "load_seconds": 0.01, "first_run_ns": 1000}
    rounds = [[[1000, 1001]] * max(request["min_rounds"], request["min_samples"])] * len(request["setups"])
    return {
        "rounds": rounds,
        "models": [model] * len(request["setups"]),
        "states": [STATE, STATE],
        "settled": True,
        "redone_rounds": 0,
        "evicted": [],
    }


def with_samples(sample: object) -> Callable[[Message], Message]:
    """Give an answer in which the last sample of the first model is another."""

    def answer(request: Message) -> Message:
        reply = honest(request)
        first = [list(block) for block in reply["rounds"][0]]
        first[-1][-1] = sample
        return {**reply, "rounds": [first, *reply["rounds"][1:]]}

    return answer


LIES: dict[str, Callable[[Message], Message]] = {
    "honest": honest,
    "negative": with_samples(-5),
    "zero": with_samples(0),
    "fraction": with_samples(1000.5),
    "text": with_samples("1000"),
    "true": with_samples(True),
    "null": with_samples(None),
    "too_long": with_samples(10**13),
    "empty_round": lambda request: {**honest(request), "rounds": [[[]] * 100]},
    "too_few_rounds": lambda request: {**honest(request), "rounds": [[[1000] * 1000]]},
    "too_few_samples": lambda request: {**honest(request), "rounds": [[[1000]] * request["min_rounds"]]},
    "no_rounds": lambda request: {**honest(request), "rounds": []},
    "one_model_too_many": lambda request: {**honest(request), "rounds": honest(request)["rounds"] * 2},
    "rounds_as_text": lambda request: {**honest(request), "rounds": "many"},
    "no_models": lambda request: {**honest(request), "models": []},
    "negative_load": lambda request: {
        **honest(request),
        "models": [{"placement": {}, "load_seconds": -1.0, "first_run_ns": 5}],
    },
    "odd_state": lambda request: {**honest(request), "states": [STATE, {**STATE, "temperature_c": "hot"}]},
    "state_without_load": lambda request: {**honest(request), "states": [{}, STATE]},
    "newer_state": lambda request: {**honest(request), "states": [{**STATE, "humidity": 3}, STATE]},
    "settled_as_text": lambda request: {**honest(request), "settled": "yes"},
    "nothing": lambda _: {},
    "unknown_refusal": lambda _: {"refused": "tired", "sentence": "\x1b[31mI am \x07 tired."},
    "misses_what_nobody_named": lambda _: {"missing": ["0" * 64]},
    "misses_for_ever": lambda request: {"missing": request["models"]},
    "progress_for_ever": lambda _: {"progress": "measuring"},
}


def raw_lie(kind: str) -> bytes | None:
    """Give the bytes of an answer that is no frame, or not all of one."""
    whole = b"".join(frame_parts({"rounds": []}))
    return {
        "nan": frame(b'{"rounds": [[[NaN]]], "blobs": []}'),
        "not_json": frame(b"{rounds"),
        "a_list": frame(b"[]"),
        "mid_frame": whole[:-3],
        "oversize_header": PREFIX.pack(MARK, 2**32 - 1),
        "oversize_blob": frame(json.dumps({"blobs": [2**40]}).encode()),
        "chatter": b"Warning: the battery is low\n",
    }.get(kind)


def frame(header: bytes) -> bytes:
    """Put any bytes where JSON belongs."""
    return PREFIX.pack(MARK, len(header)) + header


def main(kind: str) -> None:
    """Answer until the host is gone."""
    stream, out = sys.stdin.buffer, sys.stdout.buffer
    stream.read(int.from_bytes(stream.read(4), "big"))
    while True:
        try:
            request, _ = read_frame(stream.read, TO_AGENT)
        except EOFError:
            return
        if request["command"] != "hello" and kind == "odd_signal":
            os.kill(os.getpid(), ODD_SIGNAL)
        if request["command"] != "hello" and kind == "hangs_up":
            os.close(out.fileno())
            time.sleep(600)
        raw = None if request["command"] == "hello" else raw_lie(kind)
        if raw is None:
            reply = dict(HELLO) if request["command"] == "hello" else LIES[kind](request)
            is_repeated = kind == "progress_for_ever" and request["command"] != "hello"
            raw = b"".join(frame_parts(reply)) * (10 if is_repeated else 1)
        out.write(raw)
        out.flush()
        if kind == "mid_frame" and request["command"] != "hello":
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
