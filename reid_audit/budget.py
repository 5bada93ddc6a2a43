"""Budget -> Meter: the only reader of the clock. A meter says how much is left and why it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reid_audit.records import Budget, Spend, StoppedBy

Clock = Callable[[], float]


@dataclass(slots=True)
class Meter:
    """Counts steps and seconds of one attack run against its ceilings.

    A meter with ``seconds=None`` is limited by steps alone, which makes a run reproducible.
    """

    seconds: float | None
    steps: int | None
    clock: Clock = time.monotonic
    spent_steps: int = 0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def elapsed(self) -> float:
        """Seconds since the meter was made."""
        return self.clock() - self.started

    def left(self) -> float:
        """Seconds left; infinite without a time ceiling."""
        return float("inf") if self.seconds is None else self.seconds - self.elapsed()

    def exhausted(self) -> StoppedBy | None:
        """Which ceiling has been reached, or None while work may go on."""
        if self.steps is not None and self.spent_steps >= self.steps:
            return StoppedBy.STEPS
        if self.left() <= 0:
            return StoppedBy.SECONDS
        return None

    def tick(self, steps: int = 1) -> StoppedBy | None:
        """Count ``steps`` and say whether a ceiling has been reached."""
        self.spent_steps += steps
        return self.exhausted()

    def share(self, fraction: float) -> Meter:
        """A meter for one attack run: ``fraction`` of the seconds left from now on, and no step ceiling."""
        left = None if self.seconds is None else max(0.0, self.left() * fraction)
        return Meter(seconds=left, steps=None, clock=self.clock)

    def spend(self, stopped_by: StoppedBy) -> Spend:
        """What has been used so far, as a record."""
        return Spend(seconds=self.elapsed(), steps=self.spent_steps, stopped_by=stopped_by)


def start(budget: Budget, clock: Clock = time.monotonic) -> Meter:
    """Start the meter of a whole command."""
    return Meter(seconds=budget.seconds, steps=None, clock=clock)
