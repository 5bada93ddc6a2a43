"""The only reader of the clock."""

from __future__ import annotations

import pytest

from reid_audit.budget import Meter, OutOfTime, Pace, start, unhurried
from reid_audit.observer import Event, StageAdvanced, StageEnded, StageStarted
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


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)


def test_a_command_that_began_before_its_meter_has_less_left() -> None:
    clock = Clock()
    clock.now = 30.0
    assert start(Budget(seconds=100), clock, began=10.0).left() == 80.0


def test_a_meter_can_keep_seconds_for_what_follows() -> None:
    clock = Clock()
    meter = Meter(100.0, None, clock=clock)
    clock.now = 20.0
    assert meter.keeping(30.0).seconds == 50.0
    assert meter.keeping(300.0).seconds == 0.0
    assert Meter(None, None, clock=clock).keeping(30.0).seconds is None


def test_blocks_are_said_and_end_with_the_time() -> None:
    clock, said = Clock(), Heard()
    pace = Pace(Meter(10.0, None, clock=clock), said)
    seen = []

    def work() -> None:
        for block in pace.over("work", [[1, 2], [3], [4]], 4, size=len):
            seen.append(block)
            clock.now += 6.0

    with pytest.raises(OutOfTime, match="work"):
        work()
    assert seen == [[1, 2], [3]]
    assert said.events == [
        StageStarted("work", 4), StageAdvanced("work", 2), StageAdvanced("work", 3), StageEnded("work", "3 of 4")
    ]  # fmt: skip


def test_blocks_end_quietly_where_what_follows_needs_the_time() -> None:
    clock = Clock()
    pace = Pace(Meter(10.0, None, clock=clock))
    seen = []
    for block in pace.over("work", range(5), 5, rest=lambda done: 2.0 * done):
        seen.append(block)
        clock.now += 2.0
    assert seen == [0, 1, 2]
    assert list(pace.over("work", range(3), 3, rest=lambda done: 99.0)) == [0]


def test_what_cannot_be_stopped_needs_its_time_beforehand() -> None:
    pace = Pace(Meter(10.0, None, clock=Clock()))
    pace.need("long", 10.0)
    with pytest.raises(OutOfTime):
        pace.need("long", 10.1)
    with pytest.raises(OutOfTime):
        pace.keeping(10.0).need("short", 0.0)
    unhurried().need("long", 1e12)
    assert list(unhurried().over("all", range(3))) == [0, 1, 2]
