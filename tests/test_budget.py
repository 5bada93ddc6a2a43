"""The only reader of the clock."""

from __future__ import annotations

from reid_audit.budget import Meter, start
from reid_audit.records import Budget, StoppedBy


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_seconds_and_steps_end_a_meter() -> None:
    clock = Clock()
    meter = Meter(seconds=10, steps=None, clock=clock)
    assert meter.tick() is None
    clock.now = 10.0
    assert meter.exhausted() is StoppedBy.SECONDS
    assert Meter(seconds=None, steps=2, clock=clock).tick(2) is StoppedBy.STEPS


def test_a_share_is_of_what_is_left() -> None:
    clock = Clock()
    meter = start(Budget(seconds=100), clock)
    clock.now = 20.0
    assert meter.share(0.5).seconds == 40.0
    clock.now = 200.0
    assert meter.share(0.5).seconds == 0.0


def test_without_a_ceiling_time_never_ends_it() -> None:
    clock = Clock()
    meter = start(Budget(), clock)
    clock.now = 1e9
    assert meter.exhausted() is None
    assert meter.share(0.1).seconds is None
    spend = meter.spend(StoppedBy.COMPLETE)
    assert (spend.seconds, spend.steps) == (1e9, 0)
