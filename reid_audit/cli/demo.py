"""``reid-audit demo``: the embedded phantom cohort and the study's four targets."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit.cli.computing import Computing
from reid_audit.console import ConsoleObserver, console_for, show_result
from reid_audit.records import Budget, Policy, PreprocessPolicy, PreprocessSpec

if TYPE_CHECKING:
    from reid_audit.audit import Films
    from reid_audit.demo.targets import DemoCase, TargetName

EXPECTED: dict[TargetName, int] = {"overfit_cnn": 1, "cnn": 0}
"""Exit codes the two default targets must give; ``demo`` exits 3 where one differs."""


POLICY = Policy(
    budget=Budget(steps=500, particles=(16,)),
    preprocess=PreprocessPolicy(declared=PreprocessSpec(side=32)),
)
"""The default policy with the phantom's size, [0, 1] grey values, and a budget for two cores."""


def films_of(case: DemoCase) -> Films:
    """The phantom cohorts of one target, as an audit asks for them."""
    from reid_audit.audit import Films, PriorFilms

    return Films(
        reference=lambda _: case.reference,
        holdout=lambda _: case.holdout,
        prior=lambda _: PriorFilms(case.prior, declared="phantom-prior"),
    )


@click.command(cls=Computing)
@click.argument("targets", nargs=-1, type=click.Choice(["overfit_cnn", "cnn", "overfit_vit", "vit"]))
@click.option("--out", type=click.Path(path_type=Path), default=Path("reid-audit-demo"), show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def demo(targets: tuple[TargetName, ...], out: Path, seed: int, quiet: bool) -> int:
    """Audit TARGETS (default: overfit_cnn, which leaks, and cnn, which does not) on procedural chest films."""
    from reid_audit.audit import AuditRequest, Environment, audit_file
    from reid_audit.checking.reports import deliver
    from reid_audit.demo.targets import demo_case
    from reid_audit.policy import policy_sha256

    console = console_for(quiet=quiet)
    codes = {}
    for name in targets or tuple(EXPECTED):
        case = demo_case(name)
        console.print(f"\n[bold]{name}[/]: {case.checkpoint.name}", highlight=False)
        request = AuditRequest(
            checkpoint=case.checkpoint, policy=POLICY, policy_sha256=policy_sha256(POLICY), seed=seed
        )
        films = films_of(case)
        with ConsoleObserver(console) as observer:
            environment = Environment(datetime.now(UTC), time.monotonic, observer=observer)
            audited = audit_file(request, films, environment)
        deliver(audited, out / name)
        show_result(console, audited.result)
        codes[name] = audited.result.verdict.exit_code
        console.print(f"exit code {codes[name]}; report: {out / name / 'report.html'}", highlight=False)
    unexpected = [name for name, code in codes.items() if EXPECTED.get(name, code) != code]
    if unexpected:
        console.print(f"unexpected verdict for {', '.join(unexpected)}")
        return 3
    return 0
