"""``reid-audit compare``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reid_audit.atomic import write_atomically
from reid_audit.cli.computing import Computing
from reid_audit.cli.machine import writing_below
from reid_audit.cli.results import load_report

FORMATS = ("markdown", "html", "json")


@click.command(cls=Computing)
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "names",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Repeatable with --out. Default: markdown, or all formats with --out.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write files there; default: print one format.")
def compare(old: Path, new: Path, names: tuple[str, ...], out: Path | None) -> int:
    """What changed from the finished run OLD to the finished run NEW (--out folders, runs' folders, or report.json):
    verdict, gates, controls and every figure, with what is beyond chance. It judges nothing: the exit code is 0."""
    from reid_audit.report.compare import compare as compared
    from reid_audit.report.compare_pages import RENDERERS

    if out is None and len(names) > 1:
        raise click.UsageError("more than one --format needs --out")
    found = compared(load_report(old), load_report(new))
    if out is None:
        sys.stdout.buffer.write(RENDERERS[names[0] if names else "markdown"][1](found).encode())
        return 0
    with writing_below(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in names or FORMATS:
            file, render = RENDERERS[name]
            click.echo(f"wrote {write_atomically(out / file, render(found))}")
    return 0
