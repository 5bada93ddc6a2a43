"""The preflight of a check, and its refusals: an audit that must not start ends before it costs anything."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reid_audit.checking.options import CheckOptions
from reid_audit.checking.request import Asked
from reid_audit.checking.sources import surveyed
from reid_audit.errors import AuditError, CohortError, PolicyError, UnsafeCheckpointError
from reid_audit.report.words import duration
from reid_audit.runs import RESTRICTED, begun

if TYPE_CHECKING:
    from reid_audit.audit import Films
    from reid_audit.audit.preflight import Looked, Preflight

FAULTS = RESTRICTED / "faults.csv"
HELP = "--indicators-only runs all the same, for figures without a verdict"


def looked_ahead(asked: Asked) -> Asked:
    """``asked`` with its films counted, after the preflight was shown.

    Raises the AuditError behind a fault (exit code 3), or PolicyError (2) where only INCONCLUSIVE is possible and
    nobody asked for that.
    """
    looked = look(asked)
    asked.caller.show(looked.report)
    refuse_faults(looked, asked)
    refuse_hopeless(looked.report, asked.options)
    return replace(asked, films=counted(asked.films, looked.report))


def look(asked: Asked) -> Looked:
    """The preflight as it was found. Raises CohortError where a source cannot be told from its filter."""
    from reid_audit.audit.preflight import look_ahead

    return look_ahead(
        asked.request,
        surveyed(asked.options),
        checkpoint_sha256=asked.sha256,
        out=asked.options.out,
        today=datetime.now(UTC).date(),
        meter=asked.meter(),
        observer=asked.caller.observer,
    )


def counted(films: Films, report: Preflight) -> Films:
    """``films`` with their number, and the time that reading them takes, as the preflight knows them."""
    counts = {cohort.role: cohort.films for cohort in report.cohorts}
    every = max(1, sum(counts.values()))
    members, others = counts.get("reference", 0), counts.get("holdout", 0)
    reading = 0.0 if report.cost is None else dict(report.cost.stages).get("reading films", 0.0)
    return replace(films, counted=(members, others), reading=reading * (members + others) / every)


def refuse_faults(looked: Looked, asked: Asked) -> None:
    """Raise one refusal for all faults: the network's own where it is the only one, else counts that name nobody."""
    faults = looked.report.faults
    if not faults:
        return
    table = listed(looked, asked)
    unsafe = [error for error in looked.errors if isinstance(error, UnsafeCheckpointError)]
    if unsafe or (len(faults) == 1 and looked.errors):
        raise (*unsafe, *looked.errors)[0]
    where = [] if table is None else [f"{table} names each row, file and id (restricted)"]
    raise CohortError(
        "; ".join(fault.text for fault in faults),
        closest="found before the attack: nothing was spent",
        remedy="; ".join((*where, *dict.fromkeys(fault.remedy for fault in faults if fault.remedy))),
    )


def listed(looked: Looked, asked: Asked) -> Path | None:
    """The restricted table of single faults, in a run folder of its own; None where no row, file or id is at fault, or
    where no folder outlives the check."""
    from reid_audit.store import write_private

    out = asked.options.out
    if not looked.named or asked.options.temporary(out):
        return None
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("cohort", "kind", "what", "what to do"))
    table.writerows(looked.named)
    with begun(out, datetime.now(UTC), asked.sha256) as folder:
        write_private(folder / FAULTS, text.getvalue())
    return folder / FAULTS


def hopeless(report: Preflight, options: CheckOptions) -> bool:
    """Whether the outcome is known, and figures without a verdict were not asked for."""
    return not report.verdict_possible and not options.indicators_only


def refuse_hopeless(report: Preflight, options: CheckOptions) -> None:
    """Raise the refusal to spend time on an audit whose outcome is known."""
    if not hopeless(report, options):
        return
    limits = [finding for finding in report.findings if finding.topic == "policy"]
    remedies = dict.fromkeys((*(limit.remedy for limit in limits), HELP))
    raise PolicyError(
        "; ".join(limit.text for limit in limits),
        closest="nothing was attacked, nothing was spent",
        remedy="; ".join(remedies),
    )


def refuse_late(asked: Asked) -> None:
    """Raise AuditError where nothing of the budget is left for the audit itself: a report would hold nothing."""
    meter = asked.meter()
    if meter.exhausted() is not None:
        raise AuditError(
            f"the budget was over when the preflight ended, after {duration(meter.elapsed())}",
            closest="nothing was attacked, nothing was measured",
            remedy="raise --budget, or use a machine that does less beside this",
        )
