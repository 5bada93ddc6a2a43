"""The preflight of a check as it is shown: lines on stderr, or one JSON document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from reid_audit.checking.ahead import hopeless
from reid_audit.checking.options import CheckOptions
from reid_audit.records import COHORTS
from reid_audit.report.words import duration

if TYPE_CHECKING:
    from rich.console import Console

    from reid_audit.audit.preflight import CohortCount, Preflight

SCHEMA = "reid-audit/preflight/1"


def show(options: CheckOptions, console: Console, report: Preflight) -> None:
    """Say what was found. What a refusal is about to say is left to it."""
    if options.as_json and options.dry_run:
        click.echo(json.dumps(document(report), indent=1))
        return
    for line in lines(report, without="policy" if hopeless(report, options) else ""):
        console.print(escape(line), highlight=False)


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
