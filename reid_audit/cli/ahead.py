"""The preflight of ``check``: shown on stderr or as JSON, and the end of the command where the audit must not start."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from reid_audit.cli.options import CheckOptions
from reid_audit.console import ConsoleObserver
from reid_audit.errors import AuditError, CohortError, PolicyError, UnsafeCheckpointError
from reid_audit.records import COHORTS
from reid_audit.report.words import duration
from reid_audit.runs import RESTRICTED, begun

if TYPE_CHECKING:
    from rich.console import Console

    from reid_audit.audit import AuditRequest, Films
    from reid_audit.audit.preflight import CohortCount, Finding, Looked, Preflight

SCHEMA = "reid-audit/preflight/1"
FAULTS = RESTRICTED / "faults.csv"
HELP = "--indicators-only runs all the same, for figures without a verdict"


def ahead(
    request: AuditRequest,
    options: CheckOptions,
    sha256: str,
    console: Console,
    observer: ConsoleObserver,
    began: float,
) -> Preflight:
    """Look ahead, say what was found, and raise where the audit must not start. began: when the budget did.

    Raises the AuditError behind a fault (exit code 3), or PolicyError (2) where only INCONCLUSIVE is possible and
    nobody asked for that.
    """
    from reid_audit.audit.preflight import look_ahead
    from reid_audit.budget import start
    from reid_audit.cli.sources import surveyed

    now = datetime.now(UTC)
    looked = look_ahead(
        request,
        surveyed(options),
        checkpoint_sha256=sha256,
        out=options.out,
        today=now.date(),
        meter=start(request.policy.budget, began=began),
        observer=observer,
    )
    report = looked.report
    stopping = not report.verdict_possible and not options.indicators_only
    machine = options.as_json and options.dry_run
    if machine:
        click.echo(json.dumps(document(report), indent=1))
    for line in () if machine else lines(report, without="policy" if stopping else ""):
        console.print(escape(line), highlight=False)
    if report.faults:
        raise refusal(looked, listed(looked, options.out, now, sha256))
    if stopping:
        raise no_verdict([finding for finding in report.findings if finding.topic == "policy"])
    return report


def counted(films: Films, report: Preflight) -> Films:
    """``films`` with their number, and the time that reading them takes, as the preflight knows them."""
    counts = {cohort.role: cohort.films for cohort in report.cohorts}
    every = max(1, sum(counts.values()))
    members, others = counts.get("reference", 0), counts.get("holdout", 0)
    reading = 0.0 if report.cost is None else dict(report.cost.stages).get("reading films", 0.0)
    return replace(films, counted=(members, others), reading=reading * (members + others) / every)


def no_verdict(limits: list[Finding]) -> PolicyError:
    """The refusal to spend time on an audit whose outcome is known."""
    remedies = dict.fromkeys((*(limit.remedy for limit in limits), HELP))
    return PolicyError(
        "; ".join(limit.text for limit in limits),
        closest="nothing was attacked, nothing was spent",
        remedy="; ".join(remedies),
    )


def document(report: Preflight) -> dict[str, object]:
    """What ``--dry-run --json`` prints."""
    return {"schema": SCHEMA, **report.model_dump(mode="json")}


def lines(report: Preflight, *, without: str = "") -> list[str]:
    """The preflight for a person: counts, limits and notes, verdicts within reach, cost.

    Faults are left to the refusal, and findings on the topic ``without`` too.
    """
    said = [count(cohort) for cohort in report.cohorts]
    for finding in report.findings:
        if finding.kind == "fault" or finding.topic == without:
            continue
        said.append(f"{finding.kind}: {finding.text}")
        said += [f"   help: {finding.remedy}"] if finding.remedy else []
    said.append("verdicts within reach: " + ", ".join(outcome.value.upper() for outcome in report.possible))
    return said + costs(report)


def count(cohort: CohortCount) -> str:
    """``training films: 617 of 388 patients``."""

    nameless = "" if cohort.known_patients else " (nobody names them: each film counts as one)"
    return f"{COHORTS[cohort.role]} films: {cohort.films} of {cohort.patients} patients{nameless}"


def costs(report: Preflight) -> list[str]:
    """Time by stage, memory and disk; nothing where the network could not be tried."""
    cost = report.cost
    if cost is None:
        return []
    ceiling = ""
    if report.budget is not None:
        ceiling = f"; budget {duration(report.budget)}" + (
            ", which shortens it" if report.budget < cost.seconds else ""
        )
    parts = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in cost.stages if seconds >= 1)
    found = [
        f"time here, roughly: {duration(cost.seconds)} for {cost.network} at {cost.side} px "
        f"({'unless the search finds another side' if cost.side_by == 'default' else cost.side_by})"
        f"{f' ({parts})' if parts else ''}{ceiling}"
    ]
    for name, needed, free in (
        ("memory", cost.memory_bytes, cost.memory_free),
        ("disk", cost.disk_bytes, cost.disk_free),
    ):
        rest = "" if free is None else f", {size(free)} free"
        found.append(f"{name}: about {size(needed)}{rest}")
    return found


def size(count: int) -> str:
    """Bytes as ``3.2 GB`` or ``40 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def listed(looked: Looked, out: Path, now: datetime, sha256: str) -> Path | None:
    """The restricted table of single faults, in a run folder of its own; None where no row, file or id is at fault."""
    from reid_audit.store import write_private

    if not looked.named:
        return None
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("cohort", "kind", "what", "what to do"))
    table.writerows(looked.named)
    with begun(out, now, sha256) as folder:
        write_private(folder / FAULTS, text.getvalue())
    return folder / FAULTS


def refusal(looked: Looked, table: Path | None) -> AuditError:
    """One refusal for all faults: the network's own where it is the only one, else counts that name nobody."""
    faults = looked.report.faults
    unsafe = [error for error in looked.errors if isinstance(error, UnsafeCheckpointError)]
    if unsafe or (len(faults) == 1 and looked.errors):
        return (*unsafe, *looked.errors)[0]
    where = [] if table is None else [f"{table} names each row, file and id (restricted)"]
    return CohortError(
        "; ".join(fault.text for fault in faults),
        closest="found before the attack: nothing was spent",
        remedy="; ".join((*where, *dict.fromkeys(fault.remedy for fault in faults if fault.remedy))),
    )
