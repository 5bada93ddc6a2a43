"""``reid-audit check``."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit import __version__
from reid_audit.attack.methods import DEFAULT, METHODS
from reid_audit.checkpoint import screen
from reid_audit.cli.ahead import ahead, counted
from reid_audit.cli.computing import Announced, make_ready
from reid_audit.cli.files import Files, at_hand, with_declared_side
from reid_audit.cli.given import given_as
from reid_audit.cli.options import PROFILES, READERS, CheckOptions, FailOn, columns, duration, override, published_as
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.errors import AuditError, one_line
from reid_audit.observer import stage
from reid_audit.policy import find_waivers, load_policy, load_waivers
from reid_audit.records import Outcome, Policy
from reid_audit.report import FORMATS, publish, render, words
from reid_audit.runs import ATTACK_RUNS, LATEST, RESTRICTED, RESULT, begun, chosen, finish, runs_below
from reid_audit.severity import FORGIVEN

if TYPE_CHECKING:
    from rich.console import Console

    from reid_audit.audit import AuditedFile, AuditRequest, Films


LIBRARIES = ("torch", "torchvision", "numpy", "scipy")
"""Libraries whose versions can change a figure."""


@click.command(cls=Announced)
@click.argument("checkpoint", type=click.Path())
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    help="Policy file; default: the nearest reid-audit.toml, looking upwards.",
)
@click.option(
    "--waivers", type=click.Path(path_type=Path), help="Waiver file; default: the nearest reid-audit-waivers.toml."
)
@click.option("--reference", help="Training films: folder, CSV, NPZ; filter with ?column=value.")
@click.option("--holdout", help="Films of other patients from the same source.")
@click.option("--prior", help="Prior file, or public films to fit one on; default: the shipped chest prior.")
@click.option(
    "--prior-patients",
    type=click.Path(path_type=Path),
    help="Patient file of a prior of private films; default: the one beside the prior.",
)
@click.option(
    "--demographics",
    help="What reads age and sex: a predictor file, or auto, shipped or off, overriding the policy.",
)
@click.option("--strata", multiple=True, help="Manifest column the tests are stratified by; repeatable.")
@click.option(
    "--label",
    multiple=True,
    callback=columns,
    metavar="COLUMN[,COLUMN]",
    help="Manifest column the network was trained on, or one for each finding, in the order of the outputs; "
    "repeatable. Adds the loss to the membership scores.",
)
@click.option(
    "--budget", callback=duration, help="Ceiling of the whole command, such as 10m; default: none, steps decide."
)
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Steps and hypotheses of the attack.")
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default=DEFAULT,
    show_default=True,
    help="Reconstruction method.",
)
@click.option("--base", type=click.Path(), help="Public weights this checkpoint was fine-tuned from: a file or a URI.")
@click.option(
    "--encoder", type=click.Path(), help="Re-identification encoder that compares films once more: a file or a URI."
)
@click.option("--repeats", type=click.IntRange(1, 20), help="Attack seeds that must agree, overriding the policy.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps control results between audits.")
@click.option("--side", type=click.IntRange(8, 1024), help="Pixels of the square network input, overriding the policy.")
@click.option(
    "--preprocess",
    type=click.Choice(["infer", "unit", "half", "imagenet", "xrv"]),
    help="Grey values in training: 0 to 1, -1 to 1, ImageNet's, -1024 to 1024; overriding the policy.",
)
@click.option(
    "--head", type=click.Choice(["softmax", "sigmoid", "regression"]), help="What the outputs are, if not guessed."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--deterministic", is_flag=True, help="Deterministic kernels only.")
@click.option("--arch", help="Architecture by name (NAME+groupnorm16 where BatchNorm was replaced).")
@click.option("--arch-factory", help="package.module:function that builds the network. Runs that code.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reid-audit-report"),
    show_default=True,
    help="Folder of all runs; each gets its own, and 'latest' leads to the newest finished one.",
)
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS))
@published_as
@click.option(
    "--dry-run",
    is_flag=True,
    allow_from_autoenv=False,
    help="The preflight alone: faults, verdicts within reach, cost; seconds.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The public report on stdout, or with --dry-run the preflight.",
)
@click.option(
    "--indicators-only", is_flag=True, help="Run though no verdict but INCONCLUSIVE is possible: figures, no answer."
)
@click.option("--resume", is_flag=True, help="Take over what earlier runs below --out finished from the same inputs.")
@click.option(
    "--fail-on",
    type=click.Choice(list(FORGIVEN)),
    default="inconclusive",
    show_default=True,
    help="Which outcomes give a non-zero code; changes only 1 and 4 to 0.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--verbose", is_flag=True, help="Say every option and every stage with its time.")
@click.pass_obj
@given_as(CheckOptions)
def check(options: CheckOptions, began: float | None) -> int:
    """Audit CHECKPOINT: attack it within the budget, score patient re-identification, judge, report, exit.

    CHECKPOINT is a file, the folder or zip of a MONAI bundle, or hf://OWNER/MODEL@REVISION, runs:/RUN/ARTIFACT,
    models:/NAME/VERSION, wandb://ENTITY/PROJECT/ARTIFACT:VERSION.
    """
    began = time.monotonic() if began is None else began
    if options.quiet and options.verbose:
        raise click.UsageError("--quiet and --verbose exclude each other")
    console = console_for(quiet=options.quiet)
    policy, source, digest = load_policy(options.policy, Path.cwd())
    options = options.model_copy(update={"policy": source, "waivers": options.waivers or find_waivers(Path.cwd())})
    console.print(first_line(options, digest), highlight=False, markup=False)
    for line in details(options) if options.verbose else ():
        console.print(line, highlight=False, markup=False)
    ceiling = policy.budget.seconds if options.budget is None else options.budget
    watching = ConsoleObserver(console, ceiling=ceiling, began=began, verbose=options.verbose)
    with earlier_run_named(options.out, console), watching as observer:
        finished = carried_out(options, policy, digest, Terminal(console, observer, began))
    if finished is None:
        return 0
    verdict = finished.audited.result.verdict
    if options.as_json:
        click.echo(render(publish(finished.audited.result), "json"), nl=False)
    show_result(console, finished.audited.result)
    console.print(f"reports: {finished.folder} (restricted/ shows patients and stays in the house)", highlight=False)
    if not finished.newest:
        console.print(f"{options.out / LATEST} is a folder, not a link, and still shows an earlier run")
    return process_code(verdict.outcome, verdict.exit_code, options.fail_on)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a check shows its progress, and since when it runs."""

    console: Console
    observer: ConsoleObserver
    began: float
    """Reading of ``time.monotonic`` from which on the budget counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An audit whose reports are written."""

    audited: AuditedFile
    folder: Path
    newest: bool
    """Whether ``latest`` leads to it."""


def carried_out(options: CheckOptions, policy: Policy, digest: str, terminal: Terminal) -> Finished | None:
    """Everything from the file to the reports; None where it ends with the preflight."""
    with ExitStack() as stack:
        with stage(terminal.observer, "fetching the checkpoint", brief=True):
            files = stack.enter_context(at_hand(options))
        for line in files.notes():
            terminal.console.print(one_line(line), highlight=False, markup=False)
        return audited_and_written(with_declared_side(options, policy, files), policy, digest, files, terminal)


def audited_and_written(
    options: CheckOptions, policy: Policy, digest: str, files: Files, terminal: Terminal
) -> Finished | None:
    """``carried_out`` once the files are on this machine."""
    with stage(terminal.observer, "reading the checkpoint", brief=True):
        seen = screen(files.model.file, pickled_code=policy.pickled_code)
    with stage(terminal.observer, "loading libraries", brief=True):  # torch among them: not before the file has passed
        make_ready()
        request, films = plan(options, policy, digest, files)
    films = counted(films, ahead(request, options, seen.sha256, terminal.console, terminal.observer, terminal.began))
    if options.dry_run:
        return None
    refuse_late(request, terminal.began)
    with begun(options.out, datetime.now(UTC), seen.sha256) as folder:
        audited = audited_file(request, films, options, folder, terminal)
        with stage(terminal.observer, "writing reports", brief=True):
            deliver(audited, folder, options.formats)
        return Finished(audited, folder, finish(folder))


@contextmanager
def earlier_run_named(out: Path, console: Console) -> Iterator[None]:
    """Where this check ends without a verdict, say whose reports ``latest`` still leads to."""
    run = chosen(out)
    try:
        yield
    except BaseException:
        if run != out:
            console.print(f"note: {out / LATEST} is still the run {run.name}, not this check", highlight=False)
        raise


def first_line(options: CheckOptions, digest: str) -> str:
    """What is audited under what; said before anything that takes time."""
    rules = f"{options.policy or 'the default policy'} (sha256 {digest[:16]})"
    return one_line(f"reid-audit {__version__}: {options.checkpoint} under {rules}")


def details(options: CheckOptions) -> Iterator[str]:
    """What ``--verbose`` says first: every option that was given, and the versions that figures depend on."""
    for name, value in options.given():
        yield one_line(f"option --{name} {value}")
    yield f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}"


def plan(options: CheckOptions, policy: Policy, digest: str, files: Files) -> tuple[AuditRequest, Films]:
    """Options and policy file as a request. Precedence: flag, environment, file, default."""
    from reid_audit.audit import AuditRequest
    from reid_audit.cli.sources import sources

    waivers = load_waivers(options.waivers)
    films, prior_file = sources(options)
    read = options.demographics
    request = AuditRequest(
        checkpoint=files.model.file,
        policy=override(policy, options),
        policy_sha256=digest,
        waivers=waivers,
        method=options.method,
        seed=options.seed,
        device=options.device,
        deterministic=options.deterministic,
        architecture=options.arch,
        factory=options.arch_factory,
        prior=prior_file,
        prior_patients=options.prior_patients,
        predictor=None if read is None or read in READERS else Path(read),
        base=files.base,
        encoder=files.encoder,
        options=(*options.given(), *files.origin()),
    )
    return request, films


def refuse_late(request: AuditRequest, began: float) -> None:
    """Raise AuditError where nothing of the budget is left for the audit itself: a report would hold nothing.

    began: reading of the monotonic clock from which on the budget counts.
    """
    from reid_audit.budget import start

    meter = start(request.policy.budget, began=began)
    if meter.exhausted() is not None:
        raise AuditError(
            f"the budget was over when the preflight ended, after {words.duration(meter.elapsed())}",
            closest="nothing was attacked, nothing was measured",
            remedy="raise --budget, or use a machine that does less beside this",
        )


def audited_file(
    request: AuditRequest, films: Films, options: CheckOptions, folder: Path, terminal: Terminal
) -> AuditedFile:
    """The audit itself; finished attack runs are kept in ``folder``."""
    from reid_audit.audit import ControlCache, Environment, audit_file
    from reid_audit.store import RunStore

    earlier = tuple(run / ATTACK_RUNS for run in runs_below(options.out) if run != folder) if options.resume else ()
    environment = Environment(
        now=datetime.now(UTC),
        clock=time.monotonic,
        began=terminal.began,
        observer=terminal.observer,
        store=RunStore(folder / ATTACK_RUNS, earlier=earlier),
        cache=ControlCache(options.cache),
    )
    return audit_file(request, films, environment)


def deliver(audited: AuditedFile, folder: Path, formats: tuple[str, ...] = ()) -> None:
    """Write what is restricted (mode 0700): evidence of each network, then the result; then the public reports (none
    named: all), which can be written again from it."""
    from reid_audit.report import publish, write_reports
    from reid_audit.report.evidence_pages import write_evidence
    from reid_audit.store import write_private

    if audited.evidence is not None:
        write_evidence(audited.evidence, folder / RESTRICTED)
    for number, evidence in audited.further:
        write_evidence(evidence, folder / RESTRICTED / f"network_{number + 1}")
    write_private(folder / RESULT, audited.result.model_dump_json(indent=1))
    write_reports(publish(audited.result), folder, tuple(name for name in FORMATS if name in formats) or FORMATS)


def process_code(outcome: Outcome, code: int, fail_on: FailOn) -> int:
    """``--fail-on`` changes only 1 and 4 to 0."""
    return 0 if outcome in FORGIVEN[fail_on] else code
