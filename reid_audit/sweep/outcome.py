"""What became of an audit: accepted from the folder it finished, or without a verdict; and what was finished before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from reid_audit.atomic import write_atomically
from reid_audit.errors import one_line
from reid_audit.records import AuditResult, Record
from reid_audit.report import FILES, FORMATS, publish, write_reports
from reid_audit.report.sweep import PENDING, SweepRow, row_of, without_verdict
from reid_audit.runs import RESULT
from reid_audit.severity import CODES, OF_VERDICTS
from reid_audit.sweep.task import Ended, Task

DONE = "done.json"
"""In a task's folder, written last: which run is finished, and from which inputs."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Where the summary lies, and what holds for all of its audits."""

    out: Path
    policy_sha256: str
    formats: tuple[str, ...] = FORMATS
    """In which every report is written."""
    fail_on: str = "inconclusive"


class Done(Record):
    """A finished audit."""

    inputs: str
    run: str
    """Name of its folder."""
    exit_code: int
    seconds: float


def judged(task: Task, ended: Ended, summary: Summary) -> SweepRow:
    """The row of an audit that just ended; one with a verdict is marked as done.

    A verdict counts where the process ended with its exit code and finished a folder whose result is whole and of this
    policy, seed and version; everything else is without a verdict.
    """
    if ended.said:
        return _nothing(task, ended, ended.said)
    done = Done(inputs=task.inputs, run=ended.run, exit_code=ended.code, seconds=ended.seconds)
    row, why = _accepted(task, done, summary)
    if row is None:
        return _nothing(task, ended, (why,))
    write_atomically(task.folder / DONE, done.model_dump_json())
    return row


def kept(task: Task, summary: Summary) -> SweepRow | None:
    """The row of an audit that an earlier sweep finished from the same inputs; None where it has to be done."""
    try:
        done = Done.model_validate_json((task.folder / DONE).read_bytes())
    except (OSError, ValidationError):
        return None
    if done.inputs != task.inputs:
        return None
    return _accepted(task, done, summary)[0]


def pending(task: Task) -> SweepRow:
    """The row of an audit whose turn has not come."""
    return _nothing(task, Ended(CODES["not_audited"], 0.0), (PENDING,))


def _nothing(task: Task, ended: Ended, said: tuple[str, ...]) -> SweepRow:
    code = CODES["not_audited"] if ended.code in OF_VERDICTS or ended.code < 0 else ended.code
    return without_verdict(
        row=task.row, name=task.name, seed=task.seed, code=code, said=map(one_line, said), seconds=ended.seconds
    )


def _accepted(task: Task, done: Done, summary: Summary) -> tuple[SweepRow | None, str]:
    """The row of a finished run, or None and why it does not count."""
    folder = task.folder / done.run
    if not done.run or not (folder / RESULT).is_file():
        return None, f"the process ended with {done.exit_code} and finished no folder"
    try:
        result = AuditResult.model_validate_json((folder / RESULT).read_bytes())
    except (OSError, ValueError):
        return None, f"{RESULT} cannot be read"
    if result.verdict.exit_code != done.exit_code:
        return None, f"the process ended with {done.exit_code}, its result says {result.verdict.exit_code}"
    if result.policy_sha256 != summary.policy_sha256 or result.seed != task.seed:
        return None, "the policy changed while the sweep ran; start it again"
    report = publish(result)
    missing = [name for name in summary.formats if not (folder / FILES[name]).is_file()]
    write_reports(report, folder, missing)
    row = row_of(
        report,
        row=task.row,
        name=task.name,
        seed=task.seed,
        seconds=done.seconds,
        folder=folder.relative_to(summary.out).as_posix(),
        html=(folder / FILES["html"]).is_file(),
    )
    return row, ""
