"""``reid-audit check``."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit import __version__
from reid_audit.attack.methods import DEFAULT, METHODS
from reid_audit.checking.caller import Caller
from reid_audit.checking.options import REPEATS, SIDES, CheckOptions, FailOn
from reid_audit.checking.rules import PROFILES, Rules, rules_of
from reid_audit.checking.steps import carry_out, previewed
from reid_audit.cli.ahead import show
from reid_audit.cli.computing import Announced, make_ready
from reid_audit.cli.given import given_as
from reid_audit.cli.options import columns, duration, published_as
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.errors import one_line
from reid_audit.records import Outcome
from reid_audit.report import FORMATS, publish, render
from reid_audit.runs import LATEST, chosen
from reid_audit.severity import FORGIVEN

if TYPE_CHECKING:
    from rich.console import Console

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
@click.option("--repeats", type=click.IntRange(*REPEATS), help="Attack seeds that must agree, overriding the policy.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder that keeps control results between audits.")
@click.option("--side", type=click.IntRange(*SIDES), help="Pixels of the square network input, overriding the policy.")
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
    options, rules = rules_of(options)
    console.print(first_line(options, rules), highlight=False, markup=False)
    for line in details(options) if options.verbose else ():
        console.print(line, highlight=False, markup=False)
    watching = ConsoleObserver(console, ceiling=rules.ceiling(options), began=began, verbose=options.verbose)
    with earlier_run_named(options.out, console), watching as observer:
        caller = Caller(
            observer,
            began,
            note=partial(console.print, highlight=False, markup=False),
            get_ready=make_ready,
            show=partial(show, options, console),
        )
        if options.dry_run:
            with previewed(options, rules, caller):
                return 0
        finished = carry_out(options, rules, caller)
    verdict = finished.audited.result.verdict
    if options.as_json:
        click.echo(render(publish(finished.audited.result), "json"), nl=False)
    show_result(console, finished.audited.result)
    console.print(f"reports: {finished.folder} (restricted/ shows patients and stays in the house)", highlight=False)
    if not finished.newest:
        console.print(f"{options.out / LATEST} is a folder, not a link, and still shows an earlier run")
    return process_code(verdict.outcome, verdict.exit_code, options.fail_on)


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


def first_line(options: CheckOptions, rules: Rules) -> str:
    """What is audited under what; said before anything that takes time."""
    policy = f"{options.policy or 'the default policy'} (sha256 {rules.digest[:16]})"
    return one_line(f"reid-audit {__version__}: {options.checkpoint} under {policy}")


def details(options: CheckOptions) -> Iterator[str]:
    """What ``--verbose`` says first: every option that was given, and the versions that figures depend on."""
    for name, value in options.given():
        yield one_line(f"option --{name} {value}")
    yield f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}"


def process_code(outcome: Outcome, code: int, fail_on: FailOn) -> int:
    """``--fail-on`` changes only 1 and 4 to 0."""
    return 0 if outcome in FORGIVEN[fail_on] else code
