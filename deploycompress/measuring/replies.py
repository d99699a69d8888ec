"""Are a device's answers such as measuring can give? What a device says is not trusted until it passed here.

A device can still lie within what is possible; it cannot make a record of what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from deploycompress.measuring.agent.frames import Message
from deploycompress.measuring.conditions import MachineState
from deploycompress.measuring.reach.failures import UnsoundReplyError
from deploycompress.measuring.reach.words import shown

_STATE_NAMES = frozenset(field.name for field in fields(MachineState))
_MACHINE_TEXTS = ("id", "arch", "board", "cpu", "system", "governor", "power_mode")
_LONGEST_TEXT = 300
_MOST_BYTES = 2**50
_MOST_FLAGS = 4096
_LONGEST_LOAD_SECONDS = 86400.0
_CLOCK_TOLERANCE = 1.05  # the device's clock and ours need not run alike
_CLOCK_GRACE_SECONDS = 0.5


def check_reply(request: Message, reply: Message, *, elapsed_seconds: float) -> None:
    """Check an answer against what was asked.

    Args:
        request: what was asked.
        reply: what was answered.
        elapsed_seconds: how long the answer took, by this machine's clock.

    Raises:
        UnsoundReplyError: a value is missing, of the wrong kind, or cannot be.
    """
    check = _CHECKS.get(request["command"])
    if check is not None:
        check(request, reply, elapsed_seconds)


def _check_hello(_request: Message, reply: Message, _elapsed_seconds: float) -> None:
    _text(reply, "onnxruntime")
    machine = reply.get("machine")
    if not isinstance(machine, dict):
        raise _unsound("machine", machine, "an object")
    for name in _MACHINE_TEXTS:
        _text(machine, name)
    if set(machine) != {*_MACHINE_TEXTS, "cores"}:
        raise _unsound("machine", sorted(machine), f"{', '.join(_MACHINE_TEXTS)} and cores")
    _whole(machine, "cores", least=1)
    for key in ("cpu_flags", "providers"):
        names = reply.get(key, [])
        if not isinstance(names, list) or len(names) > _MOST_FLAGS or not all(isinstance(name, str) for name in names):
            raise _unsound(key, names, "a list of names")


def _check_latency(request: Message, reply: Message, elapsed_seconds: float) -> None:
    count = len(request["setups"])
    check_rounds(
        reply.get("rounds"),
        models=count,
        least_rounds=request["min_rounds"],
        least_samples=request["min_samples"],
        elapsed_seconds=elapsed_seconds,
    )
    just_now = _most(elapsed_seconds, 1.0)
    for place, model in enumerate(_objects(reply, "models", count)):
        # A model that stays loaded tells what loading it took in an earlier request.
        most_seconds = _LONGEST_LOAD_SECONDS if place in request["kept"] else just_now
        _number(model, "load_seconds", most=most_seconds)
        _whole(model, "first_run_ns", least=1, most=int(most_seconds * 1e9))
        placement = model.get("placement")
        if not isinstance(placement, dict) or not all(_is_whole(nodes) and nodes >= 0 for nodes in placement.values()):
            raise _unsound("placement", placement, "a number of nodes by provider")
    for state in _objects(reply, "states", 2):
        _check_state(state)
    _flag(reply, "settled")
    _whole(reply, "redone_rounds", least=0)


def _check_state(state: Message) -> None:
    """Check what the machine says of itself; null where it does not know."""
    if set(state) != _STATE_NAMES:
        raise _unsound("state", sorted(state), ", ".join(sorted(_STATE_NAMES)))
    known = {name: value for name, value in state.items() if value is not None}
    checks: dict[str, Callable[[], None]] = {
        "governor": lambda: _text(known, "governor"),
        "frequency_khz": lambda: _whole(known, "frequency_khz", least=1),
        "temperature_c": lambda: _number(known, "temperature_c", least=-273.15, most=1000),
        "throttled": lambda: _flag(known, "throttled"),
        "load_average": lambda: _number(known, "load_average", most=1e6),
    }
    for name in known:
        checks[name]()


def check_rounds(
    rounds: Any,  # Any: decoded JSON
    *,
    models: int,
    least_rounds: int,
    least_samples: int,
    elapsed_seconds: float,
) -> None:
    """Check samples by model and round.

    Args:
        rounds: lists by model of lists by round of samples in nanoseconds.
        models: how many there must be.
        least_rounds: of each model.
        least_samples: of each model.
        elapsed_seconds: how long sampling can have taken.

    Raises:
        UnsoundReplyError: too few, not paired, not above zero, or more time than has passed.
    """
    if not isinstance(rounds, list) or len(rounds) != models:
        raise _unsound("rounds", _count(rounds), f"those of {models} models")
    most_ns = _most(elapsed_seconds, 1e9)
    for part in rounds:
        if not isinstance(part, list) or len(part) < least_rounds or len(part) != len(rounds[0]):
            raise _unsound("rounds", _count(part), f"as many of each model, at least {least_rounds}")
        if not all(isinstance(block, list) and block and all(map(_is_whole, block)) for block in part):
            raise _unsound("samples", _first_odd(part), "whole nanoseconds in every round")
        if min(map(min, part)) <= 0:
            raise _unsound("samples", min(map(min, part)), "above 0 ns")
        if sum(map(len, part)) < least_samples:
            raise _unsound("samples", sum(map(len, part)), f"at least {least_samples}")
    longest = max(max(map(max, part)) for part in rounds)
    if longest > most_ns or sum(sum(block) for part in rounds for block in part) > most_ns:
        raise _unsound("samples", f"up to {longest} ns", f"no more than the {elapsed_seconds:.3g} s that passed in all")


def _check_activation_peak(_request: Message, reply: Message, _elapsed_seconds: float) -> None:
    if reply.get("bytes", 0) is not None:
        _whole(reply, "bytes", least=0)


def _check_peak_rss(_request: Message, reply: Message, _elapsed_seconds: float) -> None:
    _whole(reply, "bytes", least=1)


def _check_kernel_times(request: Message, reply: Message, elapsed_seconds: float) -> None:
    _whole(reply, "runs", least=request["min_runs"])
    kernels, most_us = reply.get("kernels"), _most(elapsed_seconds, 1e6)
    if not isinstance(kernels, list) or not all(isinstance(kernel, dict) for kernel in kernels):
        raise _unsound("kernels", _count(kernels), "a list of objects")
    for kernel in kernels:
        _text(kernel, "name", longest=10_000)
        _text(kernel, "op")
        times = kernel.get("microseconds")
        if not isinstance(times, list) or not times or not all(_is_whole(time) and time >= 0 for time in times):
            raise _unsound("microseconds", _count(times), "whole numbers from 0 for each run")
        if max(times) > most_us or sum(times) > most_us:
            raise _unsound(
                "microseconds", f"up to {max(times)}", f"no more than the {elapsed_seconds:.3g} s that passed"
            )


def _most(elapsed_seconds: float, units_per_second: float) -> float:
    """Give the longest time that the device's clock can have shown."""
    return (elapsed_seconds * _CLOCK_TOLERANCE + _CLOCK_GRACE_SECONDS) * units_per_second


def _text(record: Message, name: str, longest: int = _LONGEST_TEXT) -> None:
    value = record.get(name)
    if not isinstance(value, str) or len(value) > longest or not (value.isprintable() or name == "name"):
        raise _unsound(name, value, f"printable text of at most {longest} characters")


def _whole(record: Message, name: str, *, least: int, most: int = _MOST_BYTES) -> None:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _unsound(name, value, f"a whole number from {least}")


def _number(record: Message, name: str, *, least: float = 0.0, most: float) -> None:
    value = record.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise _unsound(name, value, f"a number from {least:g} to {most:.3g}")


def _flag(record: Message, name: str) -> None:
    if not isinstance(record.get(name), bool):
        raise _unsound(name, record.get(name), "true or false")


def _objects(record: Message, name: str, count: int) -> list[Message]:
    value = record.get(name)
    if not isinstance(value, list) or len(value) != count or not all(isinstance(entry, dict) for entry in value):
        raise _unsound(name, value, f"a list of {count} objects")
    return value


def _is_whole(value: Any) -> bool:  # Any: decoded JSON
    return type(value) is int


def _count(value: Any) -> str:  # Any: decoded JSON
    return f"{len(value)} entries" if isinstance(value, list) else repr(value)


def _first_odd(part: list[Any]) -> str:  # Any: decoded JSON
    for block in part:
        if not isinstance(block, list) or not block:
            return _count(block)
        for value in block:
            if not _is_whole(value):
                return repr(value)
    return "nothing"


def _unsound(name: str, value: Any, expected: str) -> UnsoundReplyError:  # Any: decoded JSON
    return UnsoundReplyError(f"its {name!r} is {shown(str(value), 80)}, expected {expected}.")


_CHECKS: dict[str, Callable[[Message, Message, float], None]] = {
    "hello": _check_hello,
    "latency": _check_latency,
    "activation_peak": _check_activation_peak,
    "peak_rss": _check_peak_rss,
    "kernel_times": _check_kernel_times,
}
