"""``reid-audit plan``: what a check with the same options would cost and give, before anything is spent."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reid_audit.budget import Pace
from reid_audit.checking.ahead import counted, look, refuse_faults, refuse_hopeless
from reid_audit.checking.caller import Caller
from reid_audit.checking.options import CheckOptions
from reid_audit.checking.request import asked
from reid_audit.checking.rules import Rules, rules_of
from reid_audit.cli.ahead import document, lines, size
from reid_audit.cli.check import check, first_line
from reid_audit.cli.computing import Computing
from reid_audit.cli.given import given_as
from reid_audit.console import ConsoleObserver, console_for
from reid_audit.report.words import REDUCED, duration

if TYPE_CHECKING:
    from reid_audit.audit.preflight import Planned, Preflight

ELSEWHERE = ("formats", "dry_run", "resume", "fail_on", "as_json")
"""Options of ``check`` that say what becomes of a verdict; here there is none."""


@click.command(cls=Computing, params=[given for given in check.params if given.name not in ELSEWHERE])
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
@given_as(CheckOptions)
def plan(options: CheckOptions, began: float | None) -> int:
    """Forecast a check of CHECKPOINT: seconds, memory and evidence of each stage, from a trial on this machine.

    Takes the options of check. Exit codes: 0 the check would start, 2 it could only end INCONCLUSIVE, 3 and 5 it would
    end with that code.
    """
    began = time.monotonic() if began is None else began
    console = console_for(quiet=options.quiet)
    options, rules = rules_of(options)
    console.print(first_line(options, rules), highlight=False, markup=False)
    ceiling = rules.ceiling(options)
    with ConsoleObserver(console, ceiling=ceiling, began=began, verbose=options.verbose) as observer:
        report = forecast(options, rules, Caller(observer, began))
    if options.as_json:
        click.echo(json.dumps(document(report), indent=1))
    else:
        show(report, Console(highlight=False))
    refuse_hopeless(report, options)
    return 0


def forecast(options: CheckOptions, rules: Rules, caller: Caller) -> Preflight:
    """The preflight of the check, with its cost as a trial foresees it. Raises AuditError where it would not start."""
    with asked(options, rules, caller) as wanted:
        from reid_audit.audit.preflight import foreseen

        looked = look(wanted)
        refuse_faults(looked, wanted)
        pace = Pace(wanted.meter(), caller.observer)
        planned = foreseen(wanted.request, counted(wanted.films, looked.report), pace)
        return looked.report.model_copy(update={"planned": planned})


def show(report: Preflight, console: Console) -> None:
    """The forecast for a person, on stdout: the preflight's lines, a table of stages, what is made smaller, the sum."""
    for line in lines(report.model_copy(update={"cost": None})):
        console.print(escape(line))
    if report.planned is None:
        return
    table = Table("stage", "time", "memory", "evidence")
    for one in report.planned.stages:
        named = ", ".join(metric.value for metric in one.evidence)
        table.add_row(one.stage, duration(one.seconds), size(one.memory_bytes), named or "-")
    console.print(table)
    for line in summary(report.planned, report):
        console.print(escape(line))


def summary(planned: Planned, report: Preflight) -> list[str]:
    """What the stages come to, and what a budget takes away."""
    found = [
        f"{REDUCED[one.stage]}: {one.done:,} of {one.of:,} {one.unit}, to fit the budget" for one in planned.reduced
    ]
    if planned.missing:
        found.append("without evidence: " + ", ".join(metric.value for metric in planned.missing))
    budget = "" if report.budget is None else f" of a budget of {duration(report.budget)}"
    free = None if report.cost is None else report.cost.memory_free
    room = "" if free is None else f", {size(free)} free"
    return [*found, f"in all: {duration(planned.seconds)}{budget}; memory: {size(planned.memory_bytes)}{room}"]
