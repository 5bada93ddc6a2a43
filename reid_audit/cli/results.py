"""Commands that work on a finished run: ``gate``, ``render``, ``verify``."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reid_audit.atomic import write_atomically
from reid_audit.checking.rules import declared
from reid_audit.cli.computing import Computing
from reid_audit.cli.machine import writing_below
from reid_audit.cli.options import published_as
from reid_audit.errors import RunStateError
from reid_audit.policy import load_policy, load_waivers
from reid_audit.report import FORMATS
from reid_audit.runs import REPORT, RESTRICTED, RESULT, chosen, later

PDF, PDF_FILE = "pdf", "data-protection.pdf"
"""The data-protection edition as it is signed; not a format of a check, because it needs a printer."""

if TYPE_CHECKING:
    from reid_audit.records import AuditResult
    from reid_audit.report import PublicReport


@click.command(cls=Computing)
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    help="Policy file; default: the nearest reid-audit.toml, looking upwards.",
)
@click.option(
    "--waivers", type=click.Path(path_type=Path), help="Waiver file; default: reid-audit-waivers.toml, likewise."
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the new reports; default: nowhere.")
@published_as
def gate(result: Path, policy: Path | None, waivers: Path | None, out: Path | None, published_as: str | None) -> int:
    """Judge the finished run in RESULT again, under another policy; no attack, no GPU."""
    from reid_audit.console import console_for, show_result
    from reid_audit.judge import judge_again, judged_each
    from reid_audit.report import publish, write_reports

    found = load_result(result)
    asked, _, digest = load_policy(policy, Path.cwd())
    asked = declared(asked, published_as)
    accepted = load_waivers(waivers, Path.cwd())
    today = datetime.now(UTC).date()
    encoder = asked.encoder.checkpoint
    encoder_sha256 = sha256_of(encoder) if encoder is not None and encoder.is_file() else None

    def judged(network: AuditResult) -> AuditResult:
        verdict = judge_again(network, asked, waivers=accepted, today=today, encoder_sha256=encoder_sha256)
        update = {"policy": asked, "policy_sha256": digest, "waivers": accepted, "verdict": verdict}
        return network.model_copy(update=update)

    again = judged_each(found, judged)
    if out is not None:
        with writing_below(out):
            write_reports(publish(again), out)
    show_result(console_for(quiet=False), again)
    return again.verdict.exit_code


@click.command(cls=Computing)
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "names",
    multiple=True,
    type=click.Choice((*FORMATS, PDF)),
    help=f"Repeatable with --out. Default: markdown, or all formats but {PDF} with --out.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write files there; default: print one format.")
@published_as
def render(result: Path, names: tuple[str, ...], out: Path | None, published_as: str | None) -> int:
    """Write the finished run in RESULT (an --out folder, a run's folder, or a report.json) in any report format."""
    from reid_audit.report import render as rendered
    from reid_audit.report import with_name, write_reports
    from reid_audit.report.pdf import to_pdf

    if out is None and len(names) > 1:
        raise click.UsageError("more than one --format needs --out")
    report = load_report(result)
    if published_as is not None:
        report = with_name(report, published_as)
    printed = to_pdf(rendered(report, "data-protection")) if PDF in names else b""
    if out is None:
        sys.stdout.buffer.write(printed or rendered(report, names[0] if names else "markdown").encode())
        return 0
    texts = tuple(name for name in names if name != PDF) if names else FORMATS
    with writing_below(out):
        written = list(write_reports(report, out, texts).values())
        if printed:
            written.append(write_atomically(out / PDF_FILE, printed))
    for path in written:
        click.echo(f"wrote {path}")
    return 0


@click.command(cls=Computing)
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("checkpoint", type=click.Path())
def verify(result: Path, checkpoint: str) -> int:
    """Exit 0 if the report in RESULT belongs to the weights in CHECKPOINT (named as for check), else 3."""
    from reid_audit.origins import fetched

    report = load_report(result)
    with fetched(checkpoint) as model:
        digest = sha256_of(model.file)
    if digest != report.checkpoint.sha256:
        raise RunStateError(
            "the report belongs to other weights",
            closest=f"audited {report.checkpoint.sha256[:16]}, given {digest[:16]}",
            remedy="audit these weights: reid-audit check",
        )
    click.echo(f"{report.verdict.outcome.value}: this report belongs to {digest}")
    return 0


def sha256_of(checkpoint: Path) -> str:
    """Digest of a file, 64 hex digits. Raises RunStateError where it cannot be read."""
    try:
        with checkpoint.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RunStateError(
            f"cannot read {checkpoint}", closest=error.strerror or "unreadable", remedy="give the audited file"
        ) from error


def load_report(path: Path) -> PublicReport:
    """The public document of a finished run: made from restricted/result.json, or the report.json where that is all
    there is. Raises RunStateError."""
    from reid_audit.report import loads, publish

    path = given = run_of(path)
    if path.is_dir():
        path = path / RESULT if (path / RESTRICTED).is_dir() else path / REPORT
    if path.name == RESULT.name:
        return publish(load_result(path))
    try:
        return loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        missing = isinstance(error, OSError)
        nothing = "no report.json" if given.exists() else "there is no such file or folder"
        raise RunStateError(
            f"{given if missing else path} holds no finished run",
            closest=nothing if missing else "report.json is damaged or of another version",
            remedy="give the --out folder of a finished 'reid-audit check', a run's folder in it, or its report.json",
        ) from error


def load_result(path: Path) -> AuditResult:
    """The finished run in a folder (or its restricted/result.json, which a report.json leads to), of this version or
    version 1.

    Raises RunStateError.
    """
    from reid_audit.judge import with_rows
    from reid_audit.records import AuditResult
    from reid_audit.records.earlier import with_present_names

    path = run_of(path)
    place = path / RESULT if path.is_dir() else path.parent / RESULT if path.name == REPORT else path
    try:
        document = with_present_names(json.loads(place.read_bytes()))
        return with_rows(AuditResult.model_validate_json(json.dumps(document)))
    except (OSError, ValueError) as error:
        raise RunStateError(
            f"{path} holds no finished run",
            closest=f"no {RESULT}" if isinstance(error, OSError) else f"{place.name} is damaged, or no {RESULT.name}",
            remedy="give the --out folder of a finished 'reid-audit check', or a run's folder in it",
        ) from error


def run_of(path: Path) -> Path:
    """The run that ``path`` means; a later one that left no verdict is named on stderr, because it is not read."""
    run = chosen(path)
    newer = later(run) if run != path else None
    if newer is not None:
        click.echo(f"note: {run.name} is read; {newer.name} began later and has not finished", err=True)
    return run
