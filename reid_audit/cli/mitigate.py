"""``reid-audit mitigate``."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit import __version__
from reid_audit.atomic import write_atomically
from reid_audit.checking.caller import Caller
from reid_audit.checking.options import CheckOptions, Named
from reid_audit.checking.reports import deliver
from reid_audit.checking.request import Asked
from reid_audit.checking.rules import Rules, rules_of
from reid_audit.checking.steps import environment_of, ready
from reid_audit.cli.ahead import show
from reid_audit.cli.check import check
from reid_audit.cli.computing import Computing
from reid_audit.cli.given import given_as
from reid_audit.cli.options import duration
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.errors import RunStateError, one_line
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.observer import stage
from reid_audit.runs import ATTACK_RUNS

if TYPE_CHECKING:
    from rich.console import Console

    from reid_audit.audit import AuditRequest
    from reid_audit.audit.mitigation import Mitigated, MitigationRequest

COPY = "mitigated.safetensors"
BEFORE, AFTER = "before", "after"
PRIOR = "prior"
"""Word of --public for samples of the prior."""


TWICE = "original and copy are audited: about twice that time"


SHARED = (
    "reference", "holdout", "prior", "label", "strata", "policy", "waivers", "profile", "side", "preprocess", "head",
    "device", "arch", "arch_factory", "cache", "seed", "quiet",
)  # fmt: skip
"""Options of ``check`` that both audits take."""


class MitigateOptions(CheckOptions):
    """Everything given to one ``mitigate``; None or empty: not given."""

    checkpoint: Named = ""
    names: tuple[str, ...] = ()
    listing: bool = False
    public: str | None = None
    public_label: str | None = None
    out: Path = Path("reid-audit-mitigated")

    def checked(self) -> CheckOptions:
        """The options of the audit of the original; that of the copy has the same."""
        own = {"names", "listing", "public", "public_label"}
        return CheckOptions.model_validate(self.model_dump(exclude=own))


@click.command(cls=Computing)
@click.argument("checkpoint", default="")
@click.option(
    "--apply", "names", multiple=True, type=click.Choice(list(MITIGATIONS)), help="Mitigation; repeatable, in order."
)
@click.option(
    "--list", "listing", is_flag=True, allow_from_autoenv=False, help="Name every mitigation in a sentence, and end."
)
@click.option("--public", help="Films of other people for the mitigations that need some, or 'prior' for its samples.")
@click.option("--public-label", help="Column of --public that fine-tune teaches; default: the network's own answers.")
@click.option("--budget", callback=duration, help="Ceiling of both audits and what is between, such as 1h.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reid-audit-mitigated"),
    show_default=True,
    help="Folder of the copy, its page, and both reports; must be new or empty.",
)
@click.pass_obj
@given_as(MitigateOptions)
def mitigate(options: MitigateOptions, began: float | None) -> int:
    """Write a copy of CHECKPOINT that gives away less, audit both with the same seeds and films, and compare.

    The original is not touched, and nothing in it is run. The exit code is that of the verdict on the copy, which is
    never PASS where a mitigation only hides what the audit reads.
    """
    if options.listing:
        return list_mitigations()
    if not options.checkpoint or not options.names:
        raise click.UsageError("give CHECKPOINT and --apply NAME (--list names them)")
    began = time.monotonic() if began is None else began
    require_new(options.out)
    console = console_for(quiet=options.quiet)
    checked, rules = rules_of(options.checked())
    said = one_line(f"reid-audit {__version__}: {options.checkpoint}, {', '.join(options.names)}")
    console.print(said, highlight=False, markup=False)
    with ConsoleObserver(console, ceiling=rules.ceiling(options), began=began) as observer:
        caller = Caller(observer, began, show=partial(show, checked, console))
        found = audited_and_written(options, checked, rules, caller, console)
    show_result(console, found.result.after)
    console.print(f"copy: {options.out / COPY}; page: {options.out / 'mitigation.html'}", highlight=False)
    return found.result.after.verdict.exit_code


mitigate.params += [given for given in check.params if given.name in SHARED]


def audited_and_written(
    options: MitigateOptions, checked: CheckOptions, rules: Rules, caller: Caller, console: Console
) -> Mitigated:
    """Everything from the file to the page on both audits. checked: the options of the audit of the original."""
    with ready(checked, rules, caller) as wanted:
        console.print(TWICE, highlight=False)
        found = carried_out(options, wanted)
        with stage(caller.observer, "writing reports", brief=True):
            written(found, options.out)
        return found


def list_mitigations() -> int:
    """Every mitigation with its sentence, on stdout."""
    for name, entry in MITIGATIONS.items():
        click.echo(f"{name:14}{entry.load().idea}")
    return 0


def require_new(out: Path) -> None:
    """Raise RunStateError where ``out`` holds something: a copy must not be mixed up with an earlier one."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunStateError(f"{out} is not empty", closest="it may hold an earlier copy", remedy="give another --out")


def both(options: MitigateOptions, request: AuditRequest) -> MitigationRequest:
    """The request for both audits and the copy."""
    from reid_audit.audit.mitigation import MitigationRequest
    from reid_audit.cohort import Source, load_cohort, parse_source
    from reid_audit.store import RunStore

    samples = options.public == PRIOR
    public = None
    if options.public is not None and not samples:
        path, where = parse_source(options.public)
        public = partial(load_cohort, Source(path, where, label=options.public_label), role="reference")
    return MitigationRequest(
        audit=request,
        names=options.names,
        copy=options.out / COPY,
        public=public,
        prior_samples=samples,
        stores=(RunStore(options.out / BEFORE / ATTACK_RUNS), RunStore(options.out / AFTER / ATTACK_RUNS)),
    )


def carried_out(options: MitigateOptions, wanted: Asked) -> Mitigated:
    """Both audits and the copy."""
    from reid_audit.audit.mitigation import audit_mitigated

    return audit_mitigated(both(options, wanted.request), wanted.films, environment_of(wanted))


def written(found: Mitigated, out: Path) -> None:
    """The page in three formats, and the full reports of both audits below it."""
    from reid_audit.report.mitigation import document
    from reid_audit.report.mitigation_pages import RENDERERS

    deliver(found.before, out / BEFORE)
    deliver(found.after, out / AFTER)
    shown = document(found.result)
    for file, render in RENDERERS.values():
        write_atomically(out / file, render(shown))
