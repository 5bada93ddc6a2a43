"""What a person sees while an audit runs, on stderr: progress where there is a terminal, plain lines where not."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from reid_audit.observer import Event, Noted, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import AuditResult, Measured, Metric, Outcome, find

SHOWN = (
    Metric.LINKAGE_P,
    Metric.LINKAGE_AUC,
    Metric.REIDENTIFIED_PATIENTS,
    Metric.LINKAGE_TPR,
    Metric.EXPOSURE_AUC,
    Metric.EXPOSURE_TPR,
    Metric.LIKELY_SAMPLES,
    Metric.NEAREST_SSIM,
    Metric.NEAREST_NN,
    Metric.NEGATIVE_CONTROL_P,
    Metric.EXCHANGEABILITY_P,
    Metric.SCORER_SENSITIVITY,
    Metric.ATTACK_POWER,
    Metric.EXPOSURE_CONTROL,
)
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow"}


class ConsoleObserver:
    """Progress bars on a terminal; otherwise one line when a stage starts and one when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[energy]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def notice(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Noted):
            self._console.print(escape(event.message), highlight=False)
        elif isinstance(event, StageStarted):
            self._tasks[event.stage] = self._progress.add_task(event.stage, total=event.total, energy="")
        elif isinstance(event, StageAdvanced):
            energy = "" if event.energy is None else f"energy {event.energy:.3g}"
            self._progress.update(self._tasks[event.stage], completed=event.step, energy=energy)
        elif isinstance(event, StageEnded):
            task = self._tasks.pop(event.stage, None)
            if task is not None:
                self._progress.remove_task(task)
            self._console.print(f"{escape(event.stage)}: {escape(event.detail or 'done')}", highlight=False)


def console_for(*, quiet: bool) -> Console:
    """A console on stderr; NO_COLOR and dumb terminals are honoured by rich."""
    return Console(stderr=True, quiet=quiet, soft_wrap=True)


def show_result(console: Console, result: AuditResult) -> None:
    """The closing summary: verdict, reason, numbers beside their controls, gaps with remedies."""
    verdict = result.verdict
    heading = f"{'SCREENING ' if verdict.screening else ''}{verdict.outcome.value.upper()}"
    console.print(f"\n[bold {COLOURS.get(verdict.outcome, 'default')}]{heading}[/]  {escape(verdict.reason)}")
    table = Table(box=None, pad_edge=False)
    for name in ("metric", "value", "95 % interval", "control"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for metric in SHOWN:
        found = find(result.measurements, metric)
        if isinstance(found, Measured):
            interval = "" if found.low is None or found.high is None else f"{found.low:.3g} .. {found.high:.3g}"
            control = "" if found.control is None else f"{found.control:.3g}"
            mark = " (indicator)" if found.indicator else ""
            table.add_row(f"{metric.value}{mark}", f"{found.value:.3g}", interval, control)
        else:
            table.add_row(metric.value, found.reason.value, "", "")
    console.print(table)
    for breach in verdict.breaches:
        console.print(f"breach: {escape(breach.text)}")
    for waived in verdict.waived:
        console.print(f"waived: {escape(waived.text)}")
    if verdict.outcome is not Outcome.FAIL:
        for gap in verdict.gaps:
            console.print(f"missing: {escape(gap.text)}\n   help: {escape(gap.remedy)}")
    for warning in verdict.warnings:
        console.print(f"warning: {escape(warning)}")
