"""Commands that work on a finished run: ``gate``, ``render``, ``verify``."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit.errors import RunStateError
from reid_audit.policy import load_policy, load_waivers, policy_sha256

if TYPE_CHECKING:
    from reid_audit.records import AuditResult


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; default: reid-audit.toml here.")
@click.option("--waivers", type=click.Path(path_type=Path), help="Waiver file.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the new reports; default: nowhere.")
def gate(result: Path, policy: Path | None, waivers: Path | None, out: Path | None) -> int:
    """Judge the finished run in RESULT again, under another policy; no attack, no GPU."""
    from reid_audit.console import console_for, show_result
    from reid_audit.judge import judge
    from reid_audit.records import StoppedBy
    from reid_audit.report import publish, write_reports

    found = load_result(result)
    chosen, _, _ = load_policy(policy, Path.cwd())
    roles = {cohort.role for cohort in found.cohorts}
    accepted = load_waivers(waivers, Path.cwd())
    verdict = judge(
        found.measurements,
        chosen,
        waivers=accepted,
        checkpoint_sha256=found.checkpoint.sha256,
        today=datetime.now(UTC).date(),
        prior_overlap=found.prior.overlap,
        budget_complete=found.spend.stopped_by in (StoppedBy.COMPLETE, StoppedBy.CONVERGED),
        has_reference="reference" in roles,
        has_holdout="holdout" in roles,
    )
    again = found.model_copy(
        update={"policy": chosen, "policy_sha256": policy_sha256(chosen), "waivers": accepted, "verdict": verdict}
    )
    if out is not None:
        write_reports(publish(again), out)
    show_result(console_for(quiet=False), again)
    return verdict.exit_code


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(["html", "json", "markdown", "sarif", "junit"]), default="markdown")
def render(result: Path, name: str) -> int:
    """Print the finished run in RESULT in any report format."""
    from reid_audit.report import publish
    from reid_audit.report import render as rendered

    click.echo(rendered(publish(load_result(result)), name))  # type: ignore[arg-type]
    return 0


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
def verify(result: Path, checkpoint: Path) -> int:
    """Exit 0 if the report in RESULT belongs to the weights in CHECKPOINT, else 3."""
    found = load_result(result)
    try:
        with checkpoint.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RunStateError(
            f"cannot read {checkpoint}", closest=error.strerror or "unreadable", remedy="give the audited file"
        ) from error
    if digest != found.checkpoint.sha256:
        raise RunStateError(
            "the report belongs to other weights",
            closest=f"audited {found.checkpoint.sha256[:16]}, given {digest[:16]}",
            remedy="audit these weights: reid-audit check",
        )
    click.echo(f"{found.verdict.outcome.value}: this report belongs to {digest}")
    return 0


def load_result(path: Path) -> AuditResult:
    """The finished run in a directory (or its restricted/result.json). Raises RunStateError."""
    from reid_audit.records import AuditResult

    place = path / "restricted" / "result.json" if path.is_dir() else path
    try:
        return AuditResult.model_validate_json(place.read_bytes())
    except (OSError, ValueError) as error:
        raise RunStateError(
            f"{path} holds no finished run",
            closest="no restricted/result.json" if isinstance(error, OSError) else "restricted/result.json is damaged",
            remedy="give the --out directory of a finished 'reid-audit check'",
        ) from error
