"""What a person sees while an audit runs, on stderr: progress where there is a terminal, plain lines where not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from reid_audit import figures
from reid_audit.observer import Event, Noted, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import METRICS, REASON_TEXT, AuditResult, Family, Measured, Outcome, find
from reid_audit.report import plain, publish, wording, words
from reid_audit.report.words import duration

SHOWN = (Family.LINKAGE, Family.MEMBERSHIP, Family.LIKELY, Family.CONTROL)
"""Families of metrics that the closing summary lists."""
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow"}


EVERY = 8.0
"""Seconds without a line after which the stage at hand is named where there is no terminal."""
BEAT = 0.5
"""Seconds between two looks at the clock."""


class BudgetColumn(ProgressColumn):
    """Time left of the whole command's ceiling."""

    def __init__(self, left: Callable[[], str]) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        """The same for every task."""
        return Text(self._left())


@dataclass(slots=True)
class Running:
    """A stage under way."""

    began: float
    """Reading of the clock."""
    total: int | None
    expected: float | None
    """Seconds it was thought to take."""
    task: TaskID
    named: bool
    """Whether a line spoke of it."""
    step: int = 0
    energy: float | None = None

    @property
    def steps(self) -> str:
        """``30/100``, or ``30`` where nobody knows of how many; empty before the first."""
        return f"{self.step}/{self.total}" if self.total else str(self.step or "")

    @property
    def detail(self) -> str:
        """Steps and energy beside a bar."""
        return f"{self.steps} {'' if self.energy is None else f'energy {self.energy:.3g}'}".strip()

    def rest(self, now: float) -> float | None:
        """Seconds it still needs, by its own steps where there are any; None: nobody knows."""
        taken = now - self.began
        if self.total and self.step:
            return taken * (self.total - self.step) / self.step
        return None if self.expected is None or taken > self.expected else self.expected - taken

    def said(self, now: float) -> list[str]:
        """How far it is, in phrases."""
        rest = self.rest(now)
        return [
            f"{self.steps} steps" if self.steps else "",
            "" if self.energy is None else f"energy {self.energy:.3g}",
            "" if self.total and self.step else f"{duration(now - self.began)} so far",
            "" if rest is None else f"about {duration(rest)} to go",
        ]


class ConsoleObserver:
    """Progress bars with the time a stage still needs and the budget left; without a terminal lines, never far apart.

    ceiling: seconds of the whole command. began: reading of ``clock`` from which on they count; now, without. verbose:
    whether stages that are short by nature are named too.
    """

    def __init__(
        self,
        console: Console,
        *,
        ceiling: float | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        verbose: bool = False,
    ) -> None:
        self._console, self._ceiling, self._clock, self._verbose = console, ceiling, clock, verbose
        self._began = clock() if began is None else began
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            BudgetColumn(self.left),
            console=console,
            disable=not console.is_terminal or console.quiet,
            transient=True,
            redirect_stdout=False,
        )
        self._running: dict[str, Running] = {}
        self._spoke = clock()
        self._lock, self._over = threading.RLock(), threading.Event()
        self._heart = threading.Thread(target=self._beats, name="heartbeat", daemon=True)

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()
        self._progress.stop()

    def left(self) -> str:
        """What the ceiling leaves, as a phrase; empty without a ceiling."""
        if self._ceiling is None:
            return ""
        return f"budget {duration(max(0.0, self._ceiling - (self._clock() - self._began)))} left"

    def notice(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            if isinstance(event, Noted):
                self._say(event.message)
            elif isinstance(event, StageStarted):
                self._start(event)
            elif isinstance(event, StageAdvanced):
                self._advance(event)
            elif isinstance(event, StageEnded):
                self._end(event)

    def beat(self) -> None:
        """Show that time passes: on the bar of a stage without steps, or by a line where there was none lately."""
        with self._lock:
            now, name = self._clock(), next(reversed(self._running), None)
            running = None if name is None else self._running[name]
            if self._console.is_terminal:
                if running is not None and running.total is None and running.expected is not None:
                    done = min(now - running.began, running.expected)
                    self._progress.update(running.task, total=running.expected, completed=done)
            elif now - self._spoke >= EVERY:
                said = ["at work"] if running is None else running.said(now)
                parts = ", ".join(part for part in (*said, self.left()) if part)
                if running is not None:
                    running.named = True
                self._say(parts if name is None else f"{name}: {parts}")

    def _beats(self) -> None:
        while not self._over.wait(BEAT):
            self.beat()

    def _start(self, event: StageStarted) -> None:
        task = self._progress.add_task(escape(event.stage), total=event.total, detail="")
        brief = event.brief and not self._verbose
        self._running[event.stage] = Running(self._clock(), event.total, event.expected, task, not brief)
        if self._console.is_terminal or brief:
            return
        expected = f", about {duration(event.expected)}" if event.expected is not None and event.expected >= 1.0 else ""
        self._say(f"{event.stage}: started" + (f", {event.total} steps" if event.total else "") + expected)

    def _advance(self, event: StageAdvanced) -> None:
        running = self._running[event.stage]
        running.step, running.energy = event.step, event.energy
        self._progress.update(running.task, completed=event.step, detail=running.detail)
        self.beat()

    def _end(self, event: StageEnded) -> None:
        running = self._running.pop(event.stage, None)
        if running is not None:
            self._progress.remove_task(running.task)
            if not running.named:
                return
        taken = 0.0 if running is None else self._clock() - running.began
        self._say(f"{event.stage}: {event.detail or 'done'} ({duration(taken)})")

    def _say(self, line: str) -> None:
        self._spoke = self._clock()
        self._console.print(escape(line), highlight=False)


def console_for(*, quiet: bool) -> Console:
    """A console on stderr; NO_COLOR and dumb terminals are honoured by rich."""
    return Console(stderr=True, quiet=quiet, soft_wrap=True)


def show_result(console: Console, result: AuditResult) -> None:
    """The closing summary in the words of the reports: verdict, numbers beside their controls, what is lacking."""
    report = publish(result)
    heading = f"{'SCREENING ' if report.verdict.screening else ''}{report.verdict.outcome.value.upper()}"
    colour = COLOURS.get(report.verdict.outcome, "default")
    console.print(f"\n[bold {colour}]{heading}[/]  {escape(plain.headline(report))}", highlight=False)
    console.print(escape(plain.meaning(report)), highlight=False)
    console.print(table_of(result))
    for reason in dict.fromkeys(d.reason for d in result.verdict.demoted):
        console.print(f"indicators do not count: {REASON_TEXT[reason]}", highlight=False)
    for line in networks_of(result):
        console.print(escape(line), highlight=False)
    settled = report.verdict.outcome is Outcome.FAIL
    for finding in report.findings:
        if finding.kind == "gap" and settled:
            continue
        said = wording.of_finding(finding, report)
        name = f"{said.label} ({finding.metric.value}): " if finding.metric else ""
        console.print(escape(f"{said.status}: {name}{said.body}"), highlight=False)
        if said.remedy:
            console.print(escape(f"   help: {said.remedy}  {said.link}"), highlight=False)


def table_of(result: AuditResult) -> Table:
    """Metrics by their ids, with value, interval, control and status in the words of the reports."""
    verdict = result.verdict
    gates = {row.metric: wording.status_word(row.status, row.limit) for row in verdict.gates}
    controls = {row.metric: words.CONTROL_WORD[row.status] for row in verdict.controls if row.metric is not None}
    demoted = {d.metric for d in verdict.demoted}
    table = Table(box=None, pad_edge=False)
    for name in ("metric", "value", "95 % interval", "control", "status"):
        table.add_column(name, justify="left" if name in ("metric", "status") else "right")
    for metric in (m for m, entry in METRICS.items() if entry.family in SHOWN):
        status = (gates.get(metric) or controls.get(metric) or "").lower()
        found = find(result.measurements, metric)
        if isinstance(found, Measured):
            limits = result.policy.limits(metric)
            ends = [figures.plain(end, limits, digits=3) for end in (found.low, found.high) if end is not None]
            control = "" if found.control is None else f"{found.control:.3g}"
            mark = " (indicator)" if found.indicator or metric in demoted else ""
            value = figures.plain(found.value, limits, digits=3)
            table.add_row(f"{metric.value}{mark}", value, " .. ".join(ends), control, status)
        else:
            table.add_row(metric.value, found.reason.value, "", "", status)
    return table


def networks_of(result: AuditResult) -> list[str]:
    """A line on each network of a file that holds several."""
    lines = []
    for network in result.networks:
        known = result.architecture if network.shown else network.audited and network.audited.architecture
        what = known.name if known else "not known"
        said = network.verdict.outcome.value.upper() if network.verdict else f"not audited: {network.why}"
        shown = ", shown above" if network.shown and len(result.networks) > 1 else ""
        copies = "".join(
            f"; the same weights: {where or 'the top of the file'} ({how})" for where, how in network.copies
        )
        lines.append(f"network {network.place} ({what}{shown}): {said}{copies}")
    return lines
