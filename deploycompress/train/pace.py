"""Fits the number of steps and checks to the time there is; knows no networks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from deploycompress.train.distil_settings import Deadline

_MARGIN = 0.97  # of the time is planned, so that an ordinary run ends its cycle and is not cut off
_CHECK_SHARE = 0.2  # of the time at most goes into checks
_DRIFT = 0.05  # relative change of length below which a plan is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """A moment to be done by.

    Attributes:
        end: on the monotonic clock, seconds; infinite without a limit of its own.
        deadline: somebody else's remaining seconds, asked anew each time.
    """

    end: float
    deadline: Deadline | None

    def left(self) -> float:
        """Give the remaining seconds, infinite when nothing limits them."""
        remaining = self.deadline() if self.deadline else None
        own = self.end - time.monotonic()
        return own if remaining is None else min(own, remaining)


def make_time_limit(seconds: float | None, deadline: Deadline | None) -> TimeLimit:
    """Start the clock.

    Args:
        seconds: from now; `None` for no limit of its own.
        deadline: gives remaining seconds, or `None` for no limit.
    """
    return TimeLimit(end=math.inf if seconds is None else time.monotonic() + seconds, deadline=deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things take.

    Attributes:
        step_s: one training step for which the teacher's answers are known, seconds.
        check_s: one validation, seconds.
        ask_s: what asking the teacher adds to a step, seconds.
    """

    step_s: float
    check_s: float
    ask_s: float = 0.0

    def at_speed(self, factor: float) -> Costs:
        """Give the costs of steps when the machine takes some times as long."""
        return replace(self, step_s=self.step_s * factor, ask_s=self.ask_s * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a run is.

    Attributes:
        end_step: steps in all.
        check_every: steps between checks.
        asked_steps: steps for which the teacher must be asked; the first ones.
    """

    end_step: int
    check_every: int
    asked_steps: int = 0

    def is_check(self, step: int) -> bool:
        """Whether a validation follows the step."""
        return step % self.check_every == 0 or step == self.end_step


def plan_pace(costs: Costs, *, left_s: float, most_steps: float, checks: int, asked_steps: int = 0) -> Pace:
    """Plan a run that ends when its time does.

    Args:
        costs: of this student on this machine.
        left_s: time there is, seconds; may be infinite.
        most_steps: limit from elsewhere; may be infinite, but not both.
        checks: validations wanted, at least one.
        asked_steps: steps for which the teacher must be asked.

    Returns:
        A run of one step at least.
    """
    usable_s = left_s * _MARGIN
    if math.isfinite(usable_s) and costs.check_s > 0:
        checks = max(1, min(checks, int(usable_s * _CHECK_SHARE / costs.check_s)))
    steps = min(most_steps, _affordable(costs, usable_s - checks * costs.check_s, asked_steps))
    end_step = max(1, int(steps))
    return Pace(end_step=end_step, check_every=math.ceil(end_step / checks), asked_steps=asked_steps)


def corrected_end(pace: Pace, costs: Costs, *, step: int, left_s: float, most_steps: float) -> int:
    """Fit what is left of a run to the time that is left of it.

    Returns:
        The new number of steps; the planned one when the difference does not matter.
    """
    checks = math.ceil(max(pace.end_step - step, 0) / pace.check_every)
    steps = _affordable(costs, left_s * _MARGIN - checks * costs.check_s, max(pace.asked_steps - step, 0))
    end_step = step + max(0, int(min(most_steps - step, steps)))
    is_close = abs(end_step - pace.end_step) <= _DRIFT * pace.end_step
    return pace.end_step if is_close else end_step


def _affordable(costs: Costs, seconds: float, asked_steps: int) -> float:
    """Count the steps that some time suffices for, the first of which ask the teacher."""
    if costs.step_s <= 0:
        return math.inf
    asking = costs.step_s + costs.ask_s
    return seconds / asking if seconds < asked_steps * asking else (seconds - asked_steps * costs.ask_s) / costs.step_s
