"""``reid-audit inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reid_audit.records import ArchMatch, CheckpointSummary

STRONG, DETECTABLE = 1.2, 0.15
"""Stored statistics per unknown pixel: reconstruction was strong down to the first, detectable down to the second."""

SHOWN = 5
"""Tensors that are named where some are left out."""
CARRIED = {
    "stored": "with statistics of the training data",
    "none": "without statistics of the data",
    "missing": "without statistics of the data (missing where they are BatchNorm)",
}


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--side", type=click.IntRange(8, 1024), help="Pixels of the square network input.")
@click.option("--arch", help="Architecture by name (NAME+groupnorm16 where BatchNorm was replaced).")
@click.option("--arch-factory", "factory", help="package.module:function that builds the network. Runs that code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def inspect(checkpoint: Path, side: int | None, arch: str | None, factory: str | None, as_json: bool) -> int:
    """What CHECKPOINT is, how it was identified, and how much its stored statistics could give away.

    A file whose network is not known is still described; the exit code is 3 then.
    """
    from reid_audit.checkpoint import load_checkpoint, screen
    from reid_audit.errors import ArchitectureError

    screen(checkpoint)
    from reid_audit.arch import identify, match  # brings torch, timm and torchvision: not before the file has passed
    from reid_audit.arch.beside import config_beside

    loaded = load_checkpoint(checkpoint)
    found, refusal = None, None
    try:
        if factory is not None:
            found = identify(loaded.tensors, factory=factory, side=side).match
        else:
            found = match(loaded.tensors, name=arch, side=side, config=config_beside(checkpoint))
    except ArchitectureError as error:
        refusal = error
    if as_json:
        refused = None if refusal is None else dict(zip(("what", "closest", "help"), refusal.lines(), strict=True))
        click.echo(json.dumps({**document(loaded.summary, found), "refusal": refused}, indent=1))
    else:
        lines = file_lines(loaded.summary) + ([] if found is None else network_lines(found))
        for name, text in [*lines, *(("finding", text) for text in loaded.summary.findings)]:
            click.echo(f"{name:16} {text}")
    if refusal is not None:
        raise refusal
    return 0


def document(summary: CheckpointSummary, found: ArchMatch | None) -> dict[str, object]:
    """What ``--json`` prints."""
    if found is None:
        return {"checkpoint": summary.model_dump(mode="json"), "architecture": None, "capacity": None}
    pixels = found.side**2
    return {
        "checkpoint": summary.model_dump(mode="json"),
        "architecture": found.model_dump(mode="json"),
        "same_by_shape": same_by_shape(found),
        "carries_data_statistics": found.data_statistics > 0,
        "capacity": {
            "statistics": found.data_statistics,
            "pixels": pixels,
            "patients": round(found.data_statistics / pixels, 2),
            "strong_up_to": round(found.data_statistics / pixels / STRONG, 2),
            "detectable_up_to": round(found.data_statistics / pixels / DETECTABLE, 2),
        },
    }


def same_by_shape(found: ArchMatch) -> list[str]:
    """Networks that no key or shape tells from the one reported."""
    return [f"{c.library}/{c.name}" for c in found.candidates if c.coverage == found.coverage]


def file_lines(summary: CheckpointSummary) -> list[tuple[str, str]]:
    """The file, line by line."""
    lines = [
        ("file", f"{summary.format}, {summary.bytes:,} bytes, {summary.tensors:,} tensors"),
        ("sha256", summary.sha256),
        ("parameters", f"{summary.parameters:,} ({', '.join(f'{kind} x {n}' for kind, n in summary.dtypes)})"),
    ]
    return [*lines, ("found in", summary.wrapper)] if summary.wrapper else lines


def network_lines(found: ArchMatch) -> list[tuple[str, str]]:
    """The network, line by line."""
    layers = ", ".join(f"{count} {kind}" for kind, count in found.normalisation) or "none"
    carried = CARRIED[found.statistics]
    same = same_by_shape(found)
    lines = [
        ("architecture", f"{found.library} {found.name}, {found.coverage:.1%} of the keys, found by {found.by}"),
        ("same by shape", f"{', '.join(same)}; --arch NAME decides" if same else "none"),
        ("head", f"{found.head}, {found.classes} outputs; input {found.channels} x {found.side} px ({found.side_by})"),
        ("normalisation", f"{layers}, {carried}" if found.normalisation else "none"),
        ("data statistics", capacity_text(found.data_statistics, found.side**2)),
    ]
    if found.unused:
        more = ", ..." if len(found.unused) > SHOWN else ""
        lines.append(("left out", f"{len(found.unused)} tensors: {', '.join(found.unused[:SHOWN])}{more}"))
    lines += [("doubt", text) for text in found.doubts]
    return [*lines, *(("evidence", text) for text in found.evidence)]


def capacity_text(statistics: int, pixels: int) -> str:
    """The rule of thumb of docs/power.md: stored statistics over unknown pixels of one film."""
    if statistics == 0:
        return "none stored: nothing to match (the head and the weights may still tell who was in training)"
    return (
        f"{statistics:,} stored values over {pixels:,} pixels a film: as many as {statistics / pixels:.1f} films have; "
        f"reconstruction was strong up to {statistics / pixels / STRONG:.1f} training films, "
        f"detectable up to {statistics / pixels / DETECTABLE:.0f}"
    )
