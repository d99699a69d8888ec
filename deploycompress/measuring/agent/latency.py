"""Latency of models that take turns; the last baseline stays loaded, because a search compares everything with it."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, NamedTuple

from .memory import return_free_memory
from .sampling import sample, warm_up
from .session import Runner
from .state import StateReader
from .stopping import StopRule
from .watch import Watch

if TYPE_CHECKING:
    from .frames import Message


class _Session(NamedTuple):
    """What one loading of the models gave."""

    rounds: list[list[list[int]]]
    redone: int
    settled: bool
    models: list[Message]


class LatencyBench:
    """Times models.

    Args:
        reader: reads the machine's state.
    """

    def __init__(self, reader: StateReader | None = None) -> None:
        self._reader = reader or StateReader()
        self._kept: dict[str, Runner] = {}

    def latency(self, request: Message, models: list[bytes]) -> Message:
        """Time models side by side.

        Args:
            request: `models` are their digests, `setups` their setups, `kept` the places of those that stay loaded for
                the next request, and `sessions` how often all others are loaded, which shares the time and the samples
                asked for among them: the same model can be some percent faster where its memory lies elsewhere. For the
                rest see `StopRule` and `warm_up`.
            models: serialised models.
        """
        before = self._reader.read()
        share = _shared(request)
        parts = [self._session(share, models, number) for number in range(request["sessions"])]
        return {
            "rounds": [[block for part in parts for block in part.rounds[place]] for place in range(len(models))],
            "redone_rounds": sum(part.redone for part in parts),
            "settled": all(part.settled for part in parts),
            "states": [before.as_message(), self._reader.read().as_message()],
            "models": parts[0].models,
        }

    def _session(self, request: Message, models: list[bytes], number: int) -> _Session:
        runners, runs, settled = self._warm_runners(request, models, number)
        gc.collect()
        gc.disable()
        try:
            sampled = sample(runners, runs, StopRule(request), Watch(self._reader))
        finally:
            gc.enable()
        told = [
            {"placement": runner.placement, "load_seconds": runner.load_seconds, "first_run_ns": runner.first_run_ns}
            for runner in runners
        ]
        return _Session(sampled.rounds, sampled.redone, settled, told)

    def _warm_runners(self, request: Message, models: list[bytes], number: int) -> tuple[list[Runner], list[int], bool]:
        setups, count = request["setups"], len(models)
        keys = [json.dumps([digest, setups[place]], sort_keys=True) for place, digest in enumerate(request["models"])]
        wanted = {keys[place] for place in request["kept"]}
        self._kept = {key: runner for key, runner in self._kept.items() if key in wanted}
        return_free_memory()  # what models before left behind must not shape where these ones lie
        runners: dict[int, Runner] = {}
        runs: dict[int, int] = {}
        all_settled = True
        for place in ((number + step) % count for step in range(count)):
            is_kept = place in request["kept"]
            runner = self._kept.get(keys[place]) if is_kept else None
            # The clock is up to speed when a process loads its models again; only the new sessions are cold.
            seconds = 0.0 if runner else request["warmup_seconds"] / (1 if number == 0 else request["sessions"])
            runner = runner or Runner(models[place], setups[place])
            if is_kept:
                self._kept[keys[place]] = runner
            runs[place], settled = warm_up(runner, seconds, request["warmup_limit_seconds"])
            runners[place] = runner
            all_settled = all_settled and settled
        return [runners[place] for place in range(count)], [runs[place] for place in range(count)], all_settled


def _shared(request: Message) -> Message:
    """Give each session its share of what is asked of all of them; what is left of chance is averaged over them."""
    sessions = request["sessions"]
    return {
        **request,
        **{name: -(-request[name] // sessions) for name in ("min_samples", "min_rounds")},
        **{name: request[name] / sessions for name in ("enough_seconds", "max_seconds")},
        "precision": request["precision"] * sessions**0.5,
    }
