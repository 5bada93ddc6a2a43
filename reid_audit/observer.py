"""Progress as typed events. Library code tells an Observer; only the console speaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins. ``total`` is its number of steps, None where it is not known."""

    stage: str
    total: int | None = None
    expected: float | None = None
    """Seconds it is thought to take, None where nobody knows."""
    brief: bool = False
    """Whether it is over at once as a rule, and worth no line where it is."""


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """``step`` of the stage's total is done; ``energy`` is the objective where there is one."""

    stage: str
    step: int
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A stage is over; ``detail`` is one short phrase for the log."""

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something the user should know that belongs to no stage (one line)."""

    message: str


Event = StageStarted | StageAdvanced | StageEnded | Noted


class Observer(Protocol):
    """Receives events in order; must return quickly and must not raise."""

    def notice(self, event: Event) -> None:
        """Take note of ``event``."""


class SilentObserver:
    """The default: nothing is said."""

    def notice(self, event: Event) -> None:
        """Nothing is done."""


@contextmanager
def stage(observer: Observer, name: str, *, expected: float | None = None, brief: bool = False) -> Iterator[None]:
    """The body as one stage, ended however it ends. expected, brief: as for ``StageStarted``."""
    observer.notice(StageStarted(name, expected=expected, brief=brief))
    try:
        yield
    finally:
        observer.notice(StageEnded(name))
