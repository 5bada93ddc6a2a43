"""Budget -> Meter: the only reader of the clock. A meter says how much is left and why it stopped; a pace is what long
computations ask between their blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from reid_audit.observer import Observer, SilentObserver, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import Budget, Spend, StoppedBy

Clock = Callable[[], float]
Block = TypeVar("Block")


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

    def keeping(self, seconds: float) -> Meter:
        """A meter that ends ``seconds`` before this one, and has no step ceiling."""
        left = None if self.seconds is None else max(0.0, self.left() - seconds)
        return Meter(seconds=left, steps=None, clock=self.clock)

    def spend(self, stopped_by: StoppedBy) -> Spend:
        """What has been used so far, as a record."""
        return Spend(seconds=self.elapsed(), steps=self.spent_steps, stopped_by=stopped_by)


class OutOfTime(Exception):
    """The meter ended inside a computation that is worth nothing unfinished."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a long computation asks between its blocks: whether time is left; and whom it tells of its progress."""

    meter: Meter
    observer: Observer = field(default_factory=SilentObserver)

    def over(
        self,
        stage: str,
        blocks: Iterable[Block],
        total: int | None = None,
        *,
        size: Callable[[Block], int] | None = None,
        rest: Callable[[int], float] | None = None,
    ) -> Iterator[Block]:
        """``blocks`` one by one, as a stage of ``total`` steps, each block ``size`` of them (one without).

        rest: from the steps done to the seconds of what has to follow them. Where it is given, the blocks end quietly,
        after the first at the earliest, as soon as what follows needs the time that is left. Raises OutOfTime before a
        block for which there is no time.
        """
        done = 0
        self.observer.notice(StageStarted(stage, total))
        try:
            for block in blocks:
                if done and rest is not None and rest(done) >= self.meter.left():
                    return
                self.check(stage)
                yield block
                done += 1 if size is None else size(block)
                self.observer.notice(StageAdvanced(stage, done))
        finally:
            self.observer.notice(StageEnded(stage, "" if total is None or done >= total else f"{done} of {total}"))

    def check(self, stage: str) -> None:
        """Raise OutOfTime where no time is left for a part of ``stage``."""
        if self.meter.exhausted() is not None:
            raise OutOfTime(stage)

    def need(self, stage: str, seconds: float) -> None:
        """Raise OutOfTime where less than ``seconds`` are left for ``stage``, which cannot be stopped on its way."""
        self.check(stage)
        if seconds > self.meter.left():
            raise OutOfTime(stage)

    def keeping(self, seconds: float) -> Pace:
        """The same pace, ending ``seconds`` earlier."""
        return replace(self, meter=self.meter.keeping(seconds))


def unhurried() -> Pace:
    """A pace without any ceiling that tells nobody."""
    return Pace(Meter(None, None))


def start(budget: Budget, clock: Clock = time.monotonic, *, began: float | None = None) -> Meter:
    """Start the meter of a whole command, which ``began`` at that reading of the clock (now, without)."""
    meter = Meter(seconds=budget.seconds, steps=None, clock=clock)
    meter.started = meter.started if began is None else began
    return meter
