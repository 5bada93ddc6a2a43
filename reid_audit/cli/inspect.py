"""``reid-audit inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--side", type=click.IntRange(8, 1024), help="Pixels of the square network input.")
@click.option("--arch", help="Architecture by name, instead of inferring it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def inspect(checkpoint: Path, side: int | None, arch: str | None, as_json: bool) -> int:
    """What CHECKPOINT is, how it was identified, and how much its stored statistics could give away."""
    from reid_audit.arch.identify import match
    from reid_audit.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    found = match(loaded.tensors, name=arch, side=side)
    pixels = found.side**2
    patients = found.data_statistics / pixels
    if as_json:
        document = {
            "checkpoint": loaded.summary.model_dump(mode="json"),
            "architecture": found.model_dump(mode="json"),
            "capacity": {"statistics": found.data_statistics, "pixels": pixels, "patients": round(patients, 2)},
        }
        click.echo(json.dumps(document, indent=1))
        return 0
    summary = loaded.summary
    layers = ", ".join(f"{count} {kind}" for kind, count in found.normalisation) or "none"
    lines = {
        "file": f"{summary.format}, {summary.bytes:,} bytes, {summary.tensors:,} tensors",
        "sha256": summary.sha256,
        "parameters": f"{summary.parameters:,} ({', '.join(f'{kind} x {n}' for kind, n in summary.dtypes)})",
        "architecture": f"{found.library} {found.name}, {found.coverage:.1%} of the keys, found by {found.by}",
        "same by shape": ", ".join(c.name for c in found.candidates if c.coverage == found.coverage) or "none",
        "head": f"{found.head}, {found.classes} outputs; input {found.channels} x {found.side} px ({found.side_by})",
        "normalisation": layers,
        "data statistics": capacity_text(found.data_statistics, pixels),
    }
    for name, text in lines.items():
        click.echo(f"{name:16} {text}")
    for finding in summary.findings:
        click.echo(f"{'finding':16} {finding}")
    return 0


def capacity_text(statistics: int, pixels: int) -> str:
    """The rule of thumb of docs/power.md: stored statistics over unknown pixels of one film."""
    if statistics == 0:
        return "none stored: nothing to match (the head and the weights may still tell who was in training)"
    return (
        f"{statistics:,} stored values over {pixels:,} pixels a film: as many as {statistics / pixels:.1f} films have; "
        f"reconstruction was strong up to {statistics / pixels / 1.2:.1f} training films, "
        f"detectable up to {statistics / pixels / 0.15:.0f}"
    )
