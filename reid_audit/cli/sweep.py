"""``reid-audit sweep``: many checkpoints under one policy, one summary, one exit code."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from reid_audit import __version__
from reid_audit.checking.options import CheckOptions, Named
from reid_audit.cli.check import check
from reid_audit.cli.computing import Conducting
from reid_audit.cli.given import given_as
from reid_audit.console import COLOURS, ConsoleObserver, console_for
from reid_audit.errors import CohortError, PolicyError, one_line
from reid_audit.observer import stage
from reid_audit.policy import find_waivers, load_policy, load_waivers
from reid_audit.records import Outcome, Policy, Waiver
from reid_audit.report import FORMATS
from reid_audit.report.sweep import SweepDocument
from reid_audit.report.sweep_pages import HTML, headline
from reid_audit.runs import RESTRICTED
from reid_audit.sweep.outcome import Summary
from reid_audit.sweep.run import WITHOUT, in_a_line, run_sweep
from reid_audit.sweep.task import Runner, Task, one_by_one

if TYPE_CHECKING:
    from rich.console import Console

    from reid_audit.sweep.inputs import Inputs
    from reid_audit.sweep.manifest import Entry

OWN = ("checkpoint", "seed", "out", "dry_run", "as_json", "resume", "verbose")
"""Options of ``check`` that a sweep has none of, or its own."""
PER_ROW = ("seed", "reference", "holdout", "label", "base", "arch", "side", "preprocess", "head")
"""Options of ``check`` that a row of the table may state for itself."""


class SweepOptions(CheckOptions):
    """Everything given to one ``sweep``; None or empty: not given."""

    checkpoint: Named = ""
    manifest: Path
    seeds: tuple[int, ...] = ()
    out: Path = Path("reid-audit-sweep")
    ray_address: str | None = None
    cpus_per_audit: float | None = None
    gpus_per_audit: float | None = None
    retries: int = 2

    def of(self, entry: Entry) -> CheckOptions:
        """The options of one audit: those of the command, and what its row states for itself."""
        own = set(SweepOptions.model_fields) - set(CheckOptions.model_fields)
        shared = self.model_dump(exclude={*own, "out", "fail_on", "quiet"})
        return CheckOptions.model_validate(
            {**shared, **entry.options, "checkpoint": entry.checkpoint, "seed": entry.seed}
        )


@click.command(cls=Conducting)
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--seed", "seeds", multiple=True, type=click.IntRange(0), help="Repeatable: every row without a seed has them all."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reid-audit-sweep"),
    show_default=True,
    help="Folder of the summary and of every audit; what is finished in it is not done again.",
)
@click.option("--ray-address", help="Ray cluster to run on: auto, local, HOST:PORT or ray://HOST:PORT.")
@click.option("--cpus-per-audit", type=click.FloatRange(0.0, min_open=True), help="On Ray; default: 1.")
@click.option(
    "--gpus-per-audit", type=click.FloatRange(0.0), help="On Ray, such as 0.25; default: 1 where there are any."
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    help="How often an audit starts again whose process or machine was lost.",
)
@click.pass_obj
@given_as(SweepOptions)
def sweep(options: SweepOptions, began: float | None) -> int:
    """Audit every checkpoint of MANIFEST, each as check would, and summarise: one page, one exit code, the worst.

    MANIFEST is a CSV with a column checkpoint; name, seed, reference, holdout, label, base, arch, side, preprocess and
    head are optional columns, for rows that differ from the options given here. A sweep that was stopped goes on when
    it is started again.
    """
    refuse_at_odds(options)
    console = console_for(quiet=options.quiet)
    policy, source, digest = load_policy(options.policy, Path.cwd())
    waivers = load_waivers(options.waivers or find_waivers(Path.cwd()))
    said = one_line(f"reid-audit {__version__}: {options.manifest} under {source or 'the default policy'}")
    console.print(said, highlight=False, markup=False)
    with ConsoleObserver(console, began=began) as observer:
        with stage(observer, "reading the table and what it names", brief=True):
            tasks = tasks_of(options, policy, digest, waivers)
        summary = Summary(options.out.absolute(), digest, options.formats or FORMATS, options.fail_on)
        found = run_sweep(tasks, partial(runner, options), summary, observer=observer, clock=time.monotonic)
    complete = not any(row.outcome in WITHOUT for row in found.rows)
    if options.cache is None and complete:
        shutil.rmtree(cache_of(options), ignore_errors=True)
    show(console, found, options, complete=complete)
    return found.exit_code


SHARED = tuple(given.name for given in check.params if given.name not in OWN)
sweep.params += [given for given in check.params if given.name in SHARED]


def refuse_at_odds(options: SweepOptions) -> None:
    """Raise UsageError or PolicyError for options that do not go together."""
    if options.ray_address is None and (options.cpus_per_audit, options.gpus_per_audit) != (None, None):
        raise click.UsageError("--cpus-per-audit and --gpus-per-audit go with --ray-address")
    if options.cache is not None and options.cache.resolve().is_relative_to(options.out.resolve()):
        raise PolicyError(
            "--cache lies below --out",
            closest="the cache holds patients' films, and --out is a folder of reports",
            remedy="give a --cache beside it, on a disk that every machine of the sweep sees",
        )


def readers() -> dict[str, Callable[[str], object]]:
    """What reads the cells of a column: the option of ``check`` itself. Raises ValueError."""
    params = {given.name: given for given in check.params}

    def reading(param: click.Parameter) -> Callable[[str], object]:
        def read(text: str) -> object:
            try:
                return param.type.convert(text, param, None)
            except click.BadParameter as error:
                raise ValueError(error.message.rstrip(".")) from error

        return read

    return {name: reading(params[name]) for name in PER_ROW}


def cache_of(options: SweepOptions) -> Path:
    """Where films and references are shared: ``--cache``, or beside ``--out`` until every audit has a verdict."""
    out = options.out.absolute()
    return options.cache or out.with_name(f"{out.name}.cache")


def tasks_of(options: SweepOptions, policy: Policy, digest: str, waivers: Sequence[Waiver]) -> list[Task]:
    """Every audit of the table. Raises PolicyError for all that is wrong with it, CohortError for what else cannot be
    read."""
    from reid_audit.sweep.inputs import Inputs
    from reid_audit.sweep.manifest import read_table

    seen, today, out = Inputs(), datetime.now(UTC).date(), options.out.absolute()
    entries = read_table(options.manifest, readers(), options.seeds or (0,))
    try:
        valid = json.dumps([waiver.model_dump(mode="json") for waiver in waivers if waiver.expires >= today])
        encoder = policy.encoder.checkpoint
        rules = {
            "policy": digest,
            "waivers": valid,
            "references": seen.given(policy.references.given),
            "encoder": "" if encoder is None else seen.behind("encoder", str(encoder)),
        }
        return [task_of(entry, options, out, partial(inputs_of, seen, rules)) for entry in entries]
    except OSError as error:
        raise CohortError(
            f"cannot read {error.filename}",
            closest=f"{error.strerror or error}; nothing was audited",
            remedy="check the path, and that it may be read",
        ) from error


def inputs_of(seen: Inputs, rules: Mapping[str, str], checked: CheckOptions) -> str:
    """Digest of all that an audit depends on. rules: what holds for every audit of the sweep."""
    checkpoint = str(checked.checkpoint)
    more = {**rules, "checkpoint": checkpoint, "weights": seen.behind("checkpoint", checkpoint)}
    return seen.of(checked.given(), more)


def task_of(entry: Entry, options: SweepOptions, out: Path, digest: Callable[[CheckOptions], str]) -> Task:
    """One audit with its folder below ``out``."""
    checked, title = options.of(entry), f"{entry.name}-seed{entry.seed}"
    return Task(
        name=entry.name,
        seed=entry.seed,
        row=entry.row,
        checkpoint=entry.checkpoint,
        options=words(checked, cache_of(options)),
        folder=out / title,
        log=out / RESTRICTED / f"{title}.log",
        working=Path.cwd(),
        inputs=digest(checked),
    )


def words(options: CheckOptions, cache: Path) -> tuple[str, ...]:
    """The command line of one ``check``, without checkpoint and ``--out``."""
    given = (f"--{flag}={value}" if value else f"--{flag}" for flag, value in options.given())
    return (*given, f"--cache={cache}", *(f"--format={name}" for name in options.formats))


def runner(options: SweepOptions) -> Runner:
    """What carries out the audits. Raises PolicyError where there is no such cluster."""
    from reid_audit.sweep.on_ray import Share, on_ray

    cache_of(options).mkdir(parents=True, exist_ok=True, mode=0o700)
    if options.ray_address is None:
        return one_by_one(options.retries)
    share = Share(options.cpus_per_audit or 1.0, options.gpus_per_audit)
    return on_ray(options.ray_address, share, options.retries, gpus_wanted=options.device != "cpu")


def show(console: Console, found: SweepDocument, options: SweepOptions, *, complete: bool) -> None:
    """The closing lines: the verdict on all, then by name whatever did not pass."""
    colour = COLOURS.get(found.outcome, "default")
    word = found.outcome.value.upper().replace("_", " ")
    console.print(f"\n[bold {colour}]{word}[/]  {escape(headline(found))}", highlight=False)
    for row in found.rows:
        if row.outcome is not Outcome.PASS:
            console.print(escape(in_a_line(row)), highlight=False)
    if options.cache is None and not complete:
        console.print(f"kept until every audit has a verdict, patients' films among it: {cache_of(options)}")
    console.print(
        f"summary: {options.out / HTML} ({RESTRICTED}/ shows patients and stays in the house)", highlight=False
    )
