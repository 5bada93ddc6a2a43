"""A sweep from its tasks to its summary: what is finished is kept, everything else is audited once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from reid_audit.atomic import write_atomically
from reid_audit.errors import RunStateError, one_line
from reid_audit.observer import Noted, Observer, StageAdvanced, StageEnded, StageStarted
from reid_audit.records import Outcome
from reid_audit.report.sweep import SweepDocument, SweepRow, document
from reid_audit.report.sweep_pages import RENDERERS
from reid_audit.sweep.outcome import Summary, judged, kept, pending
from reid_audit.sweep.task import Runner, Task

EVERY = 30.0
"""Seconds between two writings of the summary."""
WITHOUT = (Outcome.NOT_AUDITED, Outcome.REFUSED)
"""Outcomes after which an audit is done again when the sweep is started again."""
STAGE = "audits"


def run_sweep(
    tasks: Sequence[Task],
    start: Callable[[], Runner],
    summary: Summary,
    *,
    observer: Observer,
    clock: Callable[[], float],
) -> SweepDocument:
    """Audit every task that no earlier sweep finished from the same inputs.

    start: gives what carries them out, asked only where there is something to do. One audit that crashes stops no
    other. The summary is written every 30 seconds of ``clock`` and however this ends: audits whose turn did not come
    stand in it without a verdict. Raises what ``start`` raises, and RunStateError where nothing can be written.
    """
    rows = {task.title: kept(task, summary) or pending(task) for task in tasks}
    missing = [task for task in tasks if rows[task.title].outcome in WITHOUT]
    if len(missing) < len(tasks):
        observer.notice(Noted(f"{len(tasks) - len(missing)} of {len(tasks)} audits are finished already"))
    if not missing:
        return write(rows.values(), summary)
    runner = start()
    write(rows.values(), summary)
    observer.notice(StageStarted(STAGE, len(missing)))
    written = clock()
    try:
        for number, (task, ended) in enumerate(runner(missing), start=1):
            rows[task.title] = judged(task, ended, summary)
            observer.notice(Noted(in_a_line(rows[task.title])))
            observer.notice(StageAdvanced(STAGE, number))
            if clock() - written >= EVERY:
                write(rows.values(), summary)
                written = clock()
    finally:
        found = write(rows.values(), summary)
        observer.notice(StageEnded(STAGE))
    return found


def write(rows: Iterable[SweepRow], summary: Summary) -> SweepDocument:
    """The summary in every format, each whole or not at all. Raises RunStateError where it cannot be written."""
    found = document(rows, policy_sha256=summary.policy_sha256, fail_on=summary.fail_on)
    try:
        summary.out.mkdir(parents=True, exist_ok=True)
        for file, render in RENDERERS.items():
            write_atomically(summary.out / file, render(found))
    except OSError as error:
        raise RunStateError(
            f"cannot write below {summary.out}", closest=error.strerror or str(error), remedy="give another --out"
        ) from error
    return found


def in_a_line(row: SweepRow) -> str:
    """One audit in one line."""
    why = row.reason if row.outcome in WITHOUT else ", ".join(metric.value for metric in row.breaches)
    word = row.outcome.value.upper().replace("_", " ")
    return one_line(f"{row.name}, seed {row.seed}: {word} {why}")
