"""What a person sees while an audit runs, on stderr: progress where there is a terminal, plain lines where not."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from reid_audit.report.words import duration

SHOWN = (Family.LINKAGE, Family.MEMBERSHIP, Family.LIKELY, Family.CONTROL)
"""Families of metrics that the closing summary lists."""
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow"}


EVERY = 30.0
"""Seconds between two lines about one stage where there is no terminal."""


class BudgetColumn(ProgressColumn):
    """Time left of the whole command's ceiling."""

    def __init__(self, left: Callable[[], str]) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        """The same for every task."""
        return Text(self._left())


class ConsoleObserver:
    """Progress bars with the time a stage still needs and the budget left; a line now and then without a terminal."""

    def __init__(
        self, console: Console, *, ceiling: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._ceiling, self._clock = console, ceiling, clock
        self._began = clock()
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
        )
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, tuple[float, float, int | None]] = {}
        """Stage -> (start, last line, steps)."""

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def left(self) -> str:
        """What the ceiling leaves, as a phrase; empty without a ceiling."""
        if self._ceiling is None:
            return ""
        return f"budget {duration(max(0.0, self._ceiling - (self._clock() - self._began)))} left"

    def notice(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Noted):
            self._say(event.message)
        elif isinstance(event, StageStarted):
            now = self._clock()
            self._stages[event.stage] = (now, now, event.total)
            self._tasks[event.stage] = self._progress.add_task(escape(event.stage), total=event.total, detail="")
            if not self._console.is_terminal:
                self._say(f"{event.stage}: started" + (f", {event.total} steps" if event.total else ""))
        elif isinstance(event, StageAdvanced):
            self._advance(event)
        elif isinstance(event, StageEnded):
            self._end(event)

    def _advance(self, event: StageAdvanced) -> None:
        energy = "" if event.energy is None else f"energy {event.energy:.3g}"
        began, said, total = self._stages[event.stage]
        steps = f"{event.step}/{total}" if total else str(event.step)
        self._progress.update(self._tasks[event.stage], completed=event.step, detail=f"{steps} {energy}".rstrip())
        now = self._clock()
        if self._console.is_terminal or now - said < EVERY:
            return
        self._stages[event.stage] = (began, now, total)
        parts = [f"{steps} steps", energy]
        if total and event.step:
            parts.append(f"about {duration((now - began) * (total - event.step) / event.step)} to go")
        self._say(f"{event.stage}: " + ", ".join(part for part in (*parts, self.left()) if part))

    def _end(self, event: StageEnded) -> None:
        task = self._tasks.pop(event.stage, None)
        if task is not None:
            self._progress.remove_task(task)
        began = self._stages.pop(event.stage, (self._clock(), 0.0, None))[0]
        self._say(f"{event.stage}: {event.detail or 'done'} ({duration(self._clock() - began)})")

    def _say(self, line: str) -> None:
        self._console.print(escape(line), highlight=False)


def console_for(*, quiet: bool) -> Console:
    """A console on stderr; NO_COLOR and dumb terminals are honoured by rich."""
    return Console(stderr=True, quiet=quiet, soft_wrap=True)


def show_result(console: Console, result: AuditResult) -> None:
    """The closing summary: verdict, reason, numbers beside their controls, gaps with remedies."""
    verdict = result.verdict
    heading = f"{'SCREENING ' if verdict.screening else ''}{verdict.outcome.value.upper()}"
    console.print(f"\n[bold {COLOURS.get(verdict.outcome, 'default')}]{heading}[/]  {escape(verdict.reason)}")
    gates = {row.metric: row.status for row in verdict.gates}
    controls = {row.metric: row.status for row in verdict.controls if row.metric is not None}
    demoted = {d.metric for d in verdict.demoted}
    table = Table(box=None, pad_edge=False)
    for name in ("metric", "value", "95 % interval", "control", "status"):
        table.add_column(name, justify="left" if name in ("metric", "status") else "right")
    for metric in (m for m, entry in METRICS.items() if entry.family in SHOWN):
        status = (gates.get(metric) or controls.get(metric) or "").replace("_", " ")
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
    console.print(table)
    for reason in dict.fromkeys(d.reason for d in verdict.demoted):
        console.print(f"indicators do not count: {REASON_TEXT[reason]}", highlight=False)
    for breach in verdict.breaches:
        console.print(f"breach: {escape(breach.text)}")
    for waived in verdict.waived:
        console.print(f"waived: {escape(waived.text)}")
    for line in networks_of(result):
        console.print(escape(line), highlight=False)
    if verdict.outcome is not Outcome.FAIL:
        for gap in verdict.gaps:
            console.print(f"missing: {escape(gap.text)}\n   help: {escape(gap.remedy)}")
    for warning in verdict.warnings:
        console.print(f"warning: {escape(warning)}")


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
