"""How much time scoring may take, and what it gives where that is not enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from reid_audit.audit.pacing import Speed
from reid_audit.budget import OutOfTime, Pace, unhurried
from reid_audit.observer import StageEnded, StageStarted
from reid_audit.records import Metric, Reason, Unmeasured

SAFETY = 1.3
"""How many times longer than the trial on this machine scoring may take."""
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time that the comparisons have, and how fast this machine makes them."""

    pace: Pace
    speed: Speed | None = None
    """None without a time ceiling."""
    until_reports: Pace | None = None
    """All the time before the reports, of which ``pace`` leaves some to what follows; None: as ``pace``."""

    def need(self, name: str, films: int) -> None:
        """Raise OutOfTime without the time for a comparison of ``films``, which is not stopped on its way."""
        self.pace.need(name, self.expected(name, films) or 0.0)

    def expected(self, name: str, films: int) -> float | None:
        """Seconds of a comparison of ``films``; None without a ceiling, where nobody has timed the machine."""
        return None if self.speed is None else self.speed.comparison(name, films)

    def keeping(self, seconds: float) -> Allowance:
        """The same allowance, ending ``seconds`` earlier."""
        return replace(self, pace=self.pace.keeping(seconds))

    def first(self, seconds: float) -> Allowance:
        """The same allowance with ``seconds`` at least, where they are left before the reports.

        For what decides: what follows is worth nothing without it.
        """
        if self.until_reports is None:
            return self
        whole = self.until_reports.meter
        wanted = min(seconds, whole.left())
        if wanted <= self.pace.meter.left():
            return self
        return replace(self, pace=self.until_reports.keeping(whole.left() - wanted))

    def before(self, others: Sequence[str], films: int) -> Allowance:
        """The same allowance, less the time that ``others`` of the comparisons of ``films`` films need."""
        return self if self.speed is None else self.keeping(sum(self.speed.comparison(o, films) for o in others))

    def rest(self, passes: int) -> Callable[[int], float] | None:
        """Seconds of scoring the membership of so many films, ``passes`` more over them included; None: no ceiling."""
        speed = self.speed
        return None if speed is None else lambda films: SAFETY * speed.membership(films, passes)

    def in_time(self, name: str, films: int, make: Callable[[], Made], otherwise: Made) -> Made:
        """What ``make`` gives, or ``otherwise`` where no time is left. It is a stage of its own for whoever watches."""
        self.pace.observer.notice(StageStarted(name, expected=self.expected(name, films)))
        try:
            self.need(name, films)
            made = make()
        except OutOfTime:
            self.pace.observer.notice(StageEnded(name, "left out: no time"))
            return otherwise
        self.pace.observer.notice(StageEnded(name))
        return made


def unlimited() -> Allowance:
    """An allowance without a ceiling."""
    return Allowance(unhurried())


def late(*metrics: Metric) -> tuple[Unmeasured, ...]:
    """``metrics`` as unmeasured, because there was no time for them."""
    return tuple(Unmeasured(metric=metric, reason=Reason.BUDGET) for metric in metrics)
