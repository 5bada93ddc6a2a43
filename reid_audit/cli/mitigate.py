"""``reid-audit mitigate``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit import __version__
from reid_audit.atomic import write_atomically
from reid_audit.checkpoint import screen
from reid_audit.cli.ahead import ahead, counted
from reid_audit.cli.check import Terminal, check, deliver, plan, refuse_late
from reid_audit.cli.computing import Computing
from reid_audit.cli.files import Files, at_hand, with_declared_side
from reid_audit.cli.given import given_as
from reid_audit.cli.options import CheckOptions, Named, duration
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.errors import RunStateError, one_line
from reid_audit.mitigate.registry import MITIGATIONS
from reid_audit.observer import stage
from reid_audit.policy import find_waivers, load_policy
from reid_audit.records import Policy
from reid_audit.runs import ATTACK_RUNS

if TYPE_CHECKING:
    from reid_audit.audit import AuditRequest, Films
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
    checked = options.checked()
    policy, source, digest = load_policy(checked.policy, Path.cwd())
    checked = checked.model_copy(update={"policy": source, "waivers": checked.waivers or find_waivers(Path.cwd())})
    said = one_line(f"reid-audit {__version__}: {options.checkpoint}, {', '.join(options.names)}")
    console.print(said, highlight=False, markup=False)
    ceiling = policy.budget.seconds if options.budget is None else options.budget
    with ConsoleObserver(console, ceiling=ceiling, began=began) as observer, ExitStack() as stack:
        with stage(observer, "fetching the checkpoint", brief=True):
            files = stack.enter_context(at_hand(checked))
        checked = with_declared_side(checked, policy, files)
        found = audited_and_written(options, checked, (policy, digest), files, Terminal(console, observer, began))
    show_result(console, found.result.after)
    console.print(f"copy: {options.out / COPY}; page: {options.out / 'mitigation.html'}", highlight=False)
    return found.result.after.verdict.exit_code


mitigate.params += [given for given in check.params if given.name in SHARED]


def audited_and_written(
    options: MitigateOptions, checked: CheckOptions, rules: tuple[Policy, str], files: Files, terminal: Terminal
) -> Mitigated:
    """Everything once the file is on this machine. rules: the policy and its digest."""
    policy, digest = rules
    with stage(terminal.observer, "reading the checkpoint", brief=True):
        seen = screen(files.model.file, pickled_code=policy.pickled_code)
    with stage(terminal.observer, "loading libraries", brief=True):
        request, films = plan(checked, policy, digest, files)
    films = counted(films, ahead(request, checked, seen.sha256, terminal.console, terminal.observer, terminal.began))
    refuse_late(request, terminal.began)
    terminal.console.print(TWICE, highlight=False)
    found = carried_out(asked(options, request), films, options.cache, terminal)
    with stage(terminal.observer, "writing reports", brief=True):
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


def asked(options: MitigateOptions, request: AuditRequest) -> MitigationRequest:
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


def carried_out(request: MitigationRequest, films: Films, cache: Path | None, terminal: Terminal) -> Mitigated:
    """Both audits and the copy."""
    from reid_audit.audit import ControlCache, Environment
    from reid_audit.audit.mitigation import audit_mitigated

    environment = Environment(
        now=datetime.now(UTC),
        clock=time.monotonic,
        began=terminal.began,
        observer=terminal.observer,
        cache=ControlCache(cache),
    )
    return audit_mitigated(request, films, environment)


def written(found: Mitigated, out: Path) -> None:
    """The page in three formats, and the full reports of both audits below it."""
    from reid_audit.report.mitigation import document
    from reid_audit.report.mitigation_pages import RENDERERS

    deliver(found.before, out / BEFORE)
    deliver(found.after, out / AFTER)
    shown = document(found.result)
    for file, render in RENDERERS.values():
        write_atomically(out / file, render(shown))
